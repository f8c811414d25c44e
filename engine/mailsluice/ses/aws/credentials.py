"""Credentials are a step of their own: what fails there is never the answer of the service.

The SDK obtains credentials inside a call: an STS that refuses, throttles or hangs looks like the
service that was called. The clients of `aws.session` sign with `Credentials` instead, which obtains
them from the SDK's own chain of providers and raises errors of two kinds, whatever failed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from botocore import exceptions as botocore_errors
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials

from mailsluice.model.errors import ConfigurationError, MailsluiceError
from mailsluice.ses.aws.deadline import Deadline
from mailsluice.ses.aws.private import at_hand, credentials_in
from mailsluice.ses.aws.secrets import masked

logger = logging.getLogger(__name__)

TIMEOUT_S = 40.0
"""Longest time to obtain credentials, seconds: to connect to a provider, and until it answers."""

REFRESH_AGAIN_S = 30.0
"""After a refresh that failed, credentials that are still valid are used for so long without
another try."""

VALID_S = 60
"""Credentials that expire sooner are not used any more."""

_UNFIT = re.compile(r"[^!-~]")
"""Matches a character that no access key, secret key or session token has."""

REFUSED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Error codes by which AWS refuses the credentials themselves ("Common errors" of AWS services)."""

_MISCONFIGURED = (
    botocore_errors.PartialCredentialsError,
    botocore_errors.InvalidConfigError,
    botocore_errors.ConfigNotFound,
    botocore_errors.ConfigParseError,
    botocore_errors.ProfileNotFound,
    botocore_errors.UnknownCredentialError,
    botocore_errors.MissingDependencyException,
    botocore_errors.InfiniteLoopConfigError,
    FileNotFoundError,
    PermissionError,
)
"""Errors of a look-up that would fail again in the same way."""


class CredentialsUnavailableError(MailsluiceError):
    """The provider of the credentials has failed; the same may work later."""


class Credentials:
    """Takes the place of the SDK's credentials in a client: obtained when they are first needed.

    `load` gives the SDK's own, or None if none are configured. What failed is tried again by the
    next call, from the configuration as it is then.
    """

    method = None

    def __init__(self, load: Callable[[], Awaitable[Any]], timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self.known: ReadOnlyCredentials | None = None
        """The last credentials that can sign."""
        self._load = load
        self._loading = asyncio.Lock()
        self._holder: Any = None
        self._refresh_at = 0.0
        """Valid credentials are not refreshed before this moment of the event loop's clock."""

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Return credentials to sign with: fresh, or still valid ones if the provider fails.

        Raises ConfigurationError if none are configured, or none that can sign, and
        CredentialsUnavailableError if their provider fails, whatever it raises.
        """
        try:
            frozen = await self._obtained()
        except ConfigurationError:
            raise
        except Exception as error:
            failure = self._failure(error)
            valid = self._valid()
            if valid is None:
                self.forget()  # what they come from may have been mended by then
                raise failure from error
            # The SDK would fail every call from ten minutes before the end on.
            logger.warning("%s; the credentials at hand are still valid", failure)
            self._refresh_at = asyncio.get_running_loop().time() + REFRESH_AGAIN_S
            frozen = valid
        if frozen != self.known:
            _require_fit(frozen)
            self.known = frozen
        return frozen

    async def get_account_id(self) -> str | None:
        """Return the account id, as the SDK does: endpoint rules of some services need it."""
        account_id: str | None = (await self.get_frozen_credentials()).account_id
        return account_id

    def get_deferred_property(self, _: str) -> Callable[[], Awaitable[str | None]]:
        """Return the deferred account id, as the SDK does."""
        return self.get_account_id

    def forget(self) -> None:
        """Look credentials up again for the next call: a file may hold others by now."""
        self._holder = None

    def secrets(self) -> list[str]:
        """Return the secret parts of the credentials in use."""
        known = self.known
        return [] if known is None else [each for each in (known.secret_key, known.token) if each]

    async def _obtained(self) -> ReadOnlyCredentials:
        now = asyncio.get_running_loop().time()
        if now < self._refresh_at and (valid := self._valid()) is not None:
            return valid
        async with Deadline() as deadline:
            deadline.set(now + self.timeout_s)
            holder = self._holder or await self._loaded()
            frozen: ReadOnlyCredentials = await holder.get_frozen_credentials()
            return frozen

    def _valid(self) -> ReadOnlyCredentials | None:
        """Return the known credentials, if they can be refreshed and need not be yet."""
        holder = self._holder
        if not isinstance(holder, RefreshableCredentials):
            return None
        return None if holder.refresh_needed(refresh_in=VALID_S) else at_hand(holder)

    def _failure(self, error: Exception) -> CredentialsUnavailableError:
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError):
            why = f"no answer within {self.timeout_s:g} s"
        return CredentialsUnavailableError(
            f"AWS credentials cannot be obtained: {masked(why, self.secrets())}"
        )

    async def _loaded(self) -> Any:
        async with self._loading:
            if self._holder is None:
                try:
                    self._holder = await self._load()
                except _MISCONFIGURED as error:
                    raise ConfigurationError(_no_credentials(error)) from error
            if self._holder is None:
                raise ConfigurationError(_no_credentials("none are configured"))
            return self._holder


def credentials_of(client: Any) -> Credentials:
    """Return the `Credentials` of a client of `aws.session`."""
    found = credentials_in(client)
    assert isinstance(found, Credentials)
    return found


def forget_refused(client: Any, code: str | None) -> None:
    """Forget the client's credentials if AWS refused them with this error code.

    A process does not learn that keys in a file were rotated, except by the refusal.
    """
    if code in REFUSED:
        credentials_of(client).forget()


def _no_credentials(why: object) -> str:
    if isinstance(why, OSError):
        return (
            f"no AWS credentials: {why.strerror}: a file or program that the AWS profile names "
            "(`credential_process`, web_identity_token_file) cannot be used; correct the profile"
        )
    return (
        f"no AWS credentials: {masked(str(why))}; set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or a profile, or give this host a role"
    )


def _require_fit(frozen: ReadOnlyCredentials) -> None:
    """Raise ConfigurationError for keys that cannot sign a request."""
    for value, name in (
        (frozen.access_key, "the access key id (AWS_ACCESS_KEY_ID)"),
        (frozen.secret_key, "the secret key (AWS_SECRET_ACCESS_KEY)"),
        (frozen.token or "-", "the session token (AWS_SESSION_TOKEN)"),
    ):
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError(f"unusable AWS credentials: {name} is blank")
        if (found := _UNFIT.search(value)) is not None:
            raise ConfigurationError(
                f"unusable AWS credentials: {name} has {found[0]!a} in it, which none has; "
                "a line break often comes from `echo` without -n"
            )
