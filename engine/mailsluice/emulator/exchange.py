"""HTTP requests and answers, and SES's error codes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

EXCEPTIONS = {
    "TooManyRequestsException": 429,
    "LimitExceededException": 400,
    "AccountSuspendedException": 400,
    "SendingPausedException": 400,
    "MessageRejected": 400,
    "MailFromDomainNotVerifiedException": 400,
    "NotFoundException": 404,
    "AlreadyExistsException": 400,
    "BadRequestException": 400,
    "InternalServiceErrorException": 500,
    # Common to all of AWS (SES API reference, Common Errors), beside those modelled for the call.
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 403,
    "InternalFailure": 500,
    "InvalidClientTokenId": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "NotAuthorized": 400,
    "OptInRequired": 403,
    "RequestEntityTooLargeException": 413,
    "RequestExpired": 400,
    "SerializationException": 400,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "SignatureDoesNotMatch": 403,
    "ThrottlingException": 400,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}
"""HTTP status of every error code (SES v2 service model, and AWS's common errors)."""

STATUSES = (
    "MESSAGE_REJECTED",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED",
    "CONFIGURATION_SET_NOT_FOUND",
    "TEMPLATE_NOT_FOUND",
    "ACCOUNT_SUSPENDED",
    "ACCOUNT_THROTTLED",
    "ACCOUNT_DAILY_QUOTA_EXCEEDED",
    "INVALID_SENDING_POOL_NAME",
    "ACCOUNT_SENDING_PAUSED",
    "CONFIGURATION_SET_SENDING_PAUSED",
    "INVALID_PARAMETER",
    "TRANSIENT_FAILURE",
    "FAILED",
)
"""Statuses that may refuse an entry (SES v2 service model, BulkEmailStatus)."""


class Request(NamedTuple):
    """One HTTP request, complete."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Headers by lower-case name."""
    body: bytes


class Answer(NamedTuple):
    """One HTTP answer."""

    http_status: int
    body: bytes
    code: str | None = None
    """The `x-amzn-ErrorType` header; None if there is none."""
    content_type: str = "application/json"


class RefusedError(Exception):
    """The whole request is refused, with one of `EXCEPTIONS`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    @property
    def answer(self) -> Answer:
        """Return the answer that tells the client."""
        return refusal(self.code, self.text)


def refusal(code: str, text: str, http_status: int | None = None) -> Answer:
    """Make an answer with SES's error body; HTTP status 400 if the code is not in `EXCEPTIONS`."""
    status = http_status or EXCEPTIONS.get(code, 400)
    return Answer(status, orjson.dumps({"message": text}), code)


def document(value: object, http_status: int = 200) -> Answer:
    """Make an answer with a JSON body."""
    return Answer(http_status, orjson.dumps(value))
