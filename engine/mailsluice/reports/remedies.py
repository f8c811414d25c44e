"""Remedies for holds: one sentence for each cause that the engine knows.

docs/runbook.md says the same at more length.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mailsluice.model import Counts, State
from mailsluice.model.codes import (
    BOUNCES_TOO_MANY,
    COMPLAINTS_TOO_MANY,
    FEEDBACK_BLIND,
    NO_CREDENTIALS,
    NOT_SENT,
    NOT_SES,
    QUOTA_TOO_SMALL,
    RENDERING_FAILS,
    SOURCE_BROKEN,
    SOURCE_CHANGED,
    SOURCE_SHORTER,
    SUPPRESSIONS_UNREADABLE,
)
from mailsluice.model.hold import Hold

NO_RECIPIENTS = "the list has no recipients: fill it, or correct [recipients] path"

_SUSPENDED = "answer AWS's case about the account; SES sends again when they lift the suspension"
_PAUSED = (
    "find out who paused sending and why, then: "
    "aws sesv2 put-account-sending-attributes --sending-enabled"
)
_SET_PAUSED = (
    "find out who paused the configuration set and why, then: aws sesv2 "
    "put-configuration-set-sending-options --configuration-set-name NAME --sending-enabled"
)
_NO_SET = (
    "create the configuration set in this region (aws sesv2 create-configuration-set), or correct "
    "[mailing] configuration_set"
)
_NO_TEMPLATE = (
    "create the template in this region (aws sesv2 create-email-template), or correct "
    "[mailing] template"
)
_NOT_FOUND = (
    "create what SES misses in this region (aws sesv2 list-email-templates, "
    "list-configuration-sets show what there is), or correct its name in [mailing]"
)
_NOT_VERIFIED = (
    "verify the sender's domain in this region, its MAIL FROM records included: aws sesv2 "
    "get-email-identity --email-identity DOMAIN says what is missing"
)
_POOL = (
    "name a pool of dedicated IP addresses that exists: aws sesv2 "
    "put-configuration-set-delivery-options --configuration-set-name NAME --sending-pool-name POOL"
)
_SUPPRESSIONS = (
    "make the store of [suppression] path readable, or restore it with its key from a copy; nobody "
    "is mailed while nobody can say who is on it"
)
_FORBIDDEN = (
    "allow ses:SendBulkEmail on the identity, template and configuration set, and ses:GetAccount "
    "on *, to these credentials"
)
_CREDENTIALS = (
    "renew the AWS credentials (aws sts get-caller-identity tries them), and check this machine's "
    "clock"
)
_REFUSED = (
    "SES refuses the mailing as a whole: correct in [mailing] what its text names; --dry-run shows "
    "the request"
)
_BOUNCES = (
    "find out where the addresses come from, and have those that do not exist suppressed: "
    "mailsluice suppress import FILE"
)
_COMPLAINTS = (
    "find out who has not asked for this mail, and have them suppressed: "
    "mailsluice suppress import FILE. Offer a one-click unsubscribe link"
)
_RENDERING = (
    "correct the template or the data: mailsluice check names what is missing. The mails that "
    "failed were not delivered, although SES had accepted them"
)
_BLIND = (
    "mend the way from the configuration set to [feedback] queue or files: mailsluice events shows "
    "what has come, and mailsluice check which events are published"
)

_UNKNOWN = (
    "look the code up in AWS's documentation, remove the cause that the text names, and report the "
    "code to mailsluice: it is not known yet"
)

_BY_CODE = {
    SUPPRESSIONS_UNREADABLE: _SUPPRESSIONS,
    "ACCOUNT_SUSPENDED": _SUSPENDED,
    "AccountSuspendedException": _SUSPENDED,
    "ACCOUNT_SENDING_PAUSED": _PAUSED,
    "SendingPausedException": _PAUSED,
    "CONFIGURATION_SET_SENDING_PAUSED": _SET_PAUSED,
    "CONFIGURATION_SET_NOT_FOUND": _NO_SET,
    "CONFIGURATION_SET_DOES_NOT_EXIST": _NO_SET,
    "TEMPLATE_NOT_FOUND": _NO_TEMPLATE,
    "TEMPLATE_DOES_NOT_EXIST": _NO_TEMPLATE,
    "NotFoundException": _NOT_FOUND,
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": _NOT_VERIFIED,
    "MailFromDomainNotVerifiedException": _NOT_VERIFIED,
    "INVALID_SENDING_POOL_NAME": _POOL,
    "AccessDenied": _FORBIDDEN,
    "AccessDeniedException": _FORBIDDEN,
    "NotAuthorized": _FORBIDDEN,
    "OptInRequired": "enable SES for this AWS account and region",
    "ExpiredToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidSignatureException": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "MissingAuthenticationTokenException": _CREDENTIALS,
    "RequestExpired": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "BadRequestException": _REFUSED,
    "MessageRejected": _REFUSED,
    "LimitExceededException": _REFUSED,
    "ValidationException": _REFUSED,
    BOUNCES_TOO_MANY: _BOUNCES,
    COMPLAINTS_TOO_MANY: _COMPLAINTS,
    RENDERING_FAILS: _RENDERING,
    FEEDBACK_BLIND: _BLIND,
    NO_CREDENTIALS: _CREDENTIALS,
    NOT_SENT: "make SES's endpoint reachable: DNS, proxy, firewall, region, CA certificates",
    NOT_SES: (
        "a proxy or firewall answered in SES's place: have it let requests to SES's endpoint pass, "
        "or mend HTTPS_PROXY, NO_PROXY or the endpoint URL"
    ),
    QUOTA_TOO_SMALL: "lower [quota] reserve, or raise share",
    SOURCE_BROKEN: "give the very same bytes again, whole",
    SOURCE_CHANGED: (
        "give the same recipients in the same order again (a query: ORDER BY), with the same "
        "[recipients] settings, and leave a file alone while it is read. Of a run that is begun "
        'with keys and [recipients] dedupe = "key" the order is free'
    ),
    SOURCE_SHORTER: "give the same source and the same [recipients] settings again",
}


def remedy(code: str) -> str:
    """Return what to do about a hold with that code before running again."""
    return _BY_CODE.get(code, _UNKNOWN)


def next_steps(
    state: str, hold: Hold | None, counts: Counts, journal: str, again: Collection[State]
) -> list[str]:
    """Return what the operator of a run may do now, most important first; empty if nothing.

    `state` is a report's or an overview's; `journal` the journal's name as a shell takes it;
    `again` the states of which some recipients may be sent once more.
    """
    match state:
        case "running":
            return []
        case "held":
            return [
                f"{remedy(hold.code if hold else '')}; then run the same `mailsluice send` again"
            ]
        case "finished":
            return list(_after_the_end(counts, journal, again))
        case _:
            return ["run the same `mailsluice send` again: it carries on"]


def _after_the_end(counts: Counts, journal: str, again: Collection[State]) -> Iterator[str]:
    if not counts.read:
        yield f"{NO_RECIPIENTS}, and run the same `mailsluice send` again"
    if counts.in_doubt:
        yield (
            f"{counts.in_doubt:,} in doubt, which SES may have: "
            f"mailsluice resolve {journal} --in-doubt sent|resend|drop"
        )
    for state in (State.FAILED, State.REJECTED):
        if state in again:
            yield f"{state.value}: mailsluice send ... --only {state.value}, or leave them"
    for state, count in ((State.REFUSED, counts.refused), (State.REJECTED, counts.rejected)):
        if count:
            yield f"{state.value}, and why: mailsluice export {journal} --state {state.value}"
