"""The inspector on the AWS SDK: each reading operation at SES's pace, its answers checked.

SES allows one call a second of each operation (developer guide, "API quotas"), and 50 of
GetEmailTemplate. Reading is idempotent, so the SDK's standard mode retries it, within the same
pace: a request leaves when its operation's limiter lets it. What was read is remembered for some
seconds: a worker that takes a thousand mailings of one template asks for it once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import anyio
from aiobotocore.config import AioConfig
from aiolimiter import AsyncLimiter

from mailsluice.model import Answer
from mailsluice.ses import inspected
from mailsluice.ses.answers import HTTP_ERROR_MIN, broken, document_of, refusal_of
from mailsluice.ses.aws.credentials import credentials_of, forget_refused
from mailsluice.ses.client import CONNECT_TIMEOUT_S, KEEPALIVE_S
from mailsluice.ses.connecting import answered, connected
from mailsluice.ses.exchange import exchange
from mailsluice.ses.inspector import (
    ConfigurationSet,
    EventDestination,
    Identity,
    Recommendation,
    SuppressedPage,
    Template,
    Unread,
    Why,
)

CALLS_PER_S = 1.0
"""Calls per second of each operation but one ("API quotas")."""

TEMPLATES_PER_S = 50.0
"""Calls per second of GetEmailTemplate (API reference)."""

SUPPRESSED_PAGE = 1_000
"""Addresses per page of the account's suppression list: the most that SES gives."""

CONNECTIONS_MAX = 8

ATTEMPTS_MAX = 3
"""Attempts per call, as in the SDK's standard mode."""

KNOWN_S = 10.0
"""How long an answer is remembered, seconds."""

KNOWN_MAX = 1_000
"""Number of answers that are remembered: 500 KB at most each (a template), usually a few KB."""

_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "NotAuthorized", "OptInRequired"}
_MISSING = {"NotFoundException"}
_UNRENDERED = {*_MISSING, "BadRequestException"}

Read = TypeVar("Read")


class _Known(NamedTuple):
    until: float
    """When the answer is forgotten, on the event loop's clock."""
    found: Any


class ControlPlane:
    """An `Inspector`: `async with ControlPlane(...) as inspector`.

    `timeout_s` is how long SES may take for an answer. The SDK is set up by the first question,
    which raises ConfigurationError where the region, the profile or the proxy cannot be used.
    """

    def __init__(
        self, *, region: str | None, profile: str | None, endpoint_url: str | None, timeout_s: float
    ) -> None:
        self._where = (region, profile, endpoint_url)
        self._timeout_s = timeout_s
        self._config = AioConfig(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=None,  # `exchange` limits the whole answer
            max_pool_connections=CONNECTIONS_MAX,
            retries={"total_max_attempts": ATTEMPTS_MAX, "mode": "standard"},
            connector_args={"keepalive_timeout": KEEPALIVE_S},
        )
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._connecting = anyio.Lock()
        self._limiters = defaultdict(lambda: AsyncLimiter(CALLS_PER_S, 1))
        self._limiters["GetEmailTemplate"] = AsyncLimiter(TEMPLATES_PER_S, 1)
        self._known: dict[tuple[str, ...], _Known] = {}
        self._asking: defaultdict[tuple[str, ...], anyio.Lock] = defaultdict(anyio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def identity(self, name: str) -> Identity | Unread:
        """See `Inspector.identity`."""
        return await self._once(
            ("GetEmailIdentity", name),
            lambda: self._client.get_email_identity(EmailIdentity=name),
            lambda document: inspected.identity(document, name),
        )

    async def template(self, name: str) -> Template | Unread:
        """See `Inspector.template`."""
        return await self._once(
            ("GetEmailTemplate", name),
            lambda: self._client.get_email_template(TemplateName=name),
            lambda document: inspected.template(document, name),
        )

    async def configuration_set(self, name: str) -> ConfigurationSet | Unread:
        """See `Inspector.configuration_set`."""
        return await self._once(
            ("GetConfigurationSet", name),
            lambda: self._client.get_configuration_set(ConfigurationSetName=name),
            lambda document: inspected.configuration_set(document, name),
        )

    async def event_destinations(self, name: str) -> tuple[EventDestination, ...] | Unread:
        """See `Inspector.event_destinations`."""
        return await self._once(
            ("GetConfigurationSetEventDestinations", name),
            lambda: self._client.get_configuration_set_event_destinations(
                ConfigurationSetName=name
            ),
            inspected.event_destinations,
        )

    async def tenant_status(self, name: str) -> str | Unread:
        """See `Inspector.tenant_status`."""
        return await self._once(
            ("GetTenant", name),
            lambda: self._client.get_tenant(TenantName=name),
            inspected.tenant_status,
        )

    async def recommendations(self) -> tuple[Recommendation, ...] | Unread:
        """See `Inspector.recommendations`."""
        return await self._once(
            ("ListRecommendations",),
            lambda: self._client.list_recommendations(Filter={"STATUS": "OPEN"}, PageSize=100),
            inspected.recommendations,
        )

    async def test_render(self, template: str, data: str) -> str | Unread:
        """See `Inspector.test_render`."""
        return await self._ask(
            "TestRenderEmailTemplate",
            lambda: self._client.test_render_email_template(
                TemplateName=template, TemplateData=data
            ),
            inspected.rendered,
            _UNRENDERED,
        )

    async def suppressed(
        self, page: str = "", since: datetime | None = None
    ) -> SuppressedPage | Unread:
        """Read a page of the account's suppression list; `since` leaves out what is older."""
        asked = {"NextToken": page, "StartDate": since, "PageSize": SUPPRESSED_PAGE}
        return await self._ask(
            "ListSuppressedDestinations",
            lambda: self._client.list_suppressed_destinations(
                **{name: value for name, value in asked.items() if value}
            ),
            inspected.suppressed_page,
        )

    async def suppress(self, address: str, reason: str) -> Unread | None:
        """Put an address on the account's suppression list: BOUNCE or COMPLAINT."""
        return await self._ask(
            "PutSuppressedDestination",
            lambda: self._client.put_suppressed_destination(EmailAddress=address, Reason=reason),
            inspected.done,
        )

    async def allow(self, address: str) -> Unread | None:
        """Take an address off the account's suppression list; `Why.MISSING` if it is not there."""
        return await self._ask(
            "DeleteSuppressedDestination",
            lambda: self._client.delete_suppressed_destination(EmailAddress=address),
            inspected.done,
        )

    async def _once(
        self,
        key: tuple[str, ...],
        call: Callable[[], Awaitable[Any]],
        read: Callable[[dict[str, Any]], Read],
    ) -> Read | Unread:
        """Call `_ask`, unless the answer is remembered."""
        async with self._asking[key]:  # others who want the same wait for this answer
            now = anyio.current_time()
            known = self._known.get(key)
            if known is not None and now < known.until:
                found: Read | Unread = known.found
                return found
            found = await self._ask(key[0], call, read)
            if not (isinstance(found, Unread) and found.why is Why.NO_ANSWER):
                if len(self._known) >= KNOWN_MAX:
                    self._known.clear()
                self._known[key] = _Known(anyio.current_time() + KNOWN_S, found)
        if len(self._asking) > KNOWN_MAX:
            self._asking.clear()  # who waits at one holds it, too
        return found

    async def _ask(
        self,
        operation: str,
        call: Callable[[], Awaitable[Any]],
        read: Callable[[dict[str, Any]], Read],
        missing: frozenset[str] | set[str] = _MISSING,
    ) -> Read | Unread:
        await self._connect()
        response = await exchange(
            lambda: answered(call()),
            self._limiters[operation].acquire,
            self._timeout_s,
            credentials_of(self._client).secrets,
        )
        if isinstance(response, Answer):
            return Unread(Why.NO_ANSWER, operation, response.error or "")
        if response.status >= HTTP_ERROR_MIN:
            return self._unread(operation, refusal_of(response, self._secrets()), missing)
        try:
            return read(document_of(response))
        except ValueError as error:
            return Unread(Why.NO_ANSWER, operation, broken(error).error or "")

    async def _connect(self) -> None:
        async with self._connecting:
            if self._client is None:
                self._client = await self._stack.enter_async_context(
                    connected(*self._where, self._config)
                )
                credentials_of(self._client).timeout_s = CONNECT_TIMEOUT_S + self._timeout_s

    def _unread(self, operation: str, answer: Answer, missing: frozenset[str] | set[str]) -> Unread:
        forget_refused(self._client, answer.code)
        why = Why.NO_ANSWER
        if answer.code in _FORBIDDEN:
            why = Why.NOT_PERMITTED
        elif answer.code in missing:
            why = Why.MISSING
        return Unread(why, operation, f"{answer.code}: {answer.error}")

    def _secrets(self) -> list[str]:
        return credentials_of(self._client).secrets()
