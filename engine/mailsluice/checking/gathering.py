"""Asks SES for what a mailing uses, side by side, and never waits longer than it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from mailsluice.checking.facts import Facts
from mailsluice.mailing.mailing import Mailing
from mailsluice.ses.inspector import Identity, Inspector, Unread, Why

QUICK_S = 3.0
"""How long a mailing may wait for what is asked at its start."""

THOROUGH_S = 60.0
"""As `QUICK_S`, for a check that somebody has asked for."""


async def gather(inspector: Inspector, mailing: Mailing, *, thorough: bool) -> Facts:
    """Read what SES says of the mailing's sender, configuration set, template and tenant.

    Not `thorough`, it asks what a mailing can be held for, in one call of each operation as a rule:
    SES allows one a second.
    """
    asking = _Asking(inspector, mailing, thorough=thorough)
    with anyio.move_on_after(THOROUGH_S if thorough else QUICK_S):
        async with anyio.create_task_group() as tasks:
            for ask in asking.asks():
                tasks.start_soon(ask)
    return Facts(**asking.found)


def template_name(mailing: Mailing) -> str | None:
    """Return the stored template's name; None for inline content."""
    if mailing.template_arn is not None:
        return mailing.template_arn.rpartition("template/")[2] or mailing.template_arn
    return mailing.template


def sender_of(mailing: Mailing) -> str:
    """Return the From address in lower case, without its display name."""
    return mailing.from_address.rpartition("<")[2].removesuffix(">").lower()


class _Asking:
    """One round of questions. What has no answer in time is `Unread` for that reason."""

    def __init__(self, inspector: Inspector, mailing: Mailing, *, thorough: bool) -> None:
        self._inspector = inspector
        self._mailing = mailing
        self._thorough = thorough
        self.found: dict[str, Any] = {}

    def asks(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        made: list[Callable[[], Coroutine[Any, Any, None]]] = [self._sender]
        if template_name(self._mailing) is not None:
            made.append(self._template)
        if self._mailing.configuration_set is not None:
            made.append(self._configuration_set)
        if self._mailing.tenant is not None:
            made.append(self._tenant)
        if self._thorough:
            made.append(self._recommendations)
        return made

    async def _sender(self) -> None:
        """Read the identity, and its configuration set for a mailing that names none."""
        bare = sender_of(self._mailing)
        domain = await self._ask(
            "domain", "GetEmailIdentity", self._inspector.identity, bare.rpartition("@")[2]
        )
        identity = domain
        if self._thorough or not (isinstance(domain, Identity) and domain.verified):
            address = await self._ask("address", "GetEmailIdentity", self._inspector.identity, bare)
            identity = address if isinstance(address, Identity) else domain
        if self._mailing.configuration_set is None and isinstance(identity, Identity):
            await self._set(identity.configuration_set)

    async def _configuration_set(self) -> None:
        await self._set(self._mailing.configuration_set)

    async def _set(self, name: str | None) -> None:
        if not name:
            return
        inspector = self._inspector
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                self._ask,
                *("configuration_set", "GetConfigurationSet", inspector.configuration_set, name),
            )
            tasks.start_soon(
                self._ask,
                *("destinations", "GetConfigurationSetEventDestinations"),
                *(inspector.event_destinations, name),
            )

    async def _template(self) -> None:
        await self._ask(
            *("template", "GetEmailTemplate", self._inspector.template),
            template_name(self._mailing) or "",
        )

    async def _tenant(self) -> None:
        await self._ask(
            *("tenant_status", "GetTenant", self._inspector.tenant_status),
            self._mailing.tenant or "",
        )

    async def _recommendations(self) -> None:
        await self._ask("recommendations", "ListRecommendations", self._inspector.recommendations)

    async def _ask(
        self,
        field: str,
        operation: str,
        call: Callable[..., Awaitable[object]],
        *names: str,
    ) -> object:
        self.found[field] = Unread(Why.NO_ANSWER, operation, "no answer in time")
        self.found[field] = await call(*names)
        return self.found[field]
