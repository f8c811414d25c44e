"""Brings a store and SES's account suppression list together, at the pace that SES allows."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TypeVar

from mailsluice.config.settings import Settings
from mailsluice.mailing import addresses
from mailsluice.model.errors import SourceUnavailableError
from mailsluice.ses.control_plane import ControlPlane
from mailsluice.ses.inspector import SuppressedAddress, Unread, Why
from mailsluice.suppression.scopes import SCOPE_OF, Reason, Suppression
from mailsluice.suppression.store import Suppressions

OF_SES = {"BOUNCE": Reason.BOUNCE, "COMPLAINT": Reason.COMPLAINT}
"""The reasons that SES's list knows."""

OVERLAP_S = 300.0
"""By how much a sync looks back before the last one began: clocks differ."""

SOURCE = "ses"
"""The source of suppressions that come from SES's list: they are never put back there."""


Read = TypeVar("Read")


def control_plane(settings: Settings) -> ControlPlane:
    """Return a client of SES's control plane; to be entered."""
    ses = settings.ses
    return ControlPlane(
        region=ses.region,
        profile=ses.profile,
        endpoint_url=ses.endpoint_url,
        timeout_s=settings.delivery.timeout_s,
    )


async def pull(ses: ControlPlane, store: Suppressions, *, whole: bool) -> dict[str, int]:
    """Suppress whom SES's list names: all of it, or what it has gained since the last time.

    The mark moves when the last page is stored: what was interrupted is read again. Raises
    SourceUnavailableError, StoreError.
    """
    began = time.time()
    mark = None if whole else store.synced_until()
    since = None if mark is None else datetime.fromtimestamp(max(0.0, mark - OVERLAP_S), UTC)
    totals = {"listed": 0, "new": 0, "refused": 0}
    token = ""
    while True:
        page = _required(await ses.suppressed(token, since))
        found = [each for entry in page.listed if (each := _suppression(entry)) is not None]
        totals["listed"] += len(page.listed)
        totals["refused"] += len(page.listed) - len(found)
        totals["new"] += store.add(found)
        if not (token := page.next):
            break
    store.note_synced(began)
    return totals


async def push(ses: ControlPlane, store: Suppressions) -> int:
    """Put bounces and complaints on SES's list that are not known to be there; how many.

    Each is noted at once: what was interrupted goes on. Raises SourceUnavailableError, StoreError.
    """
    names = {reason: name for name, reason in OF_SES.items()}
    put = 0
    for each in list(store.entries()):
        if each.address is None or each.reason not in names or each.source == SOURCE:
            continue
        if not store.is_pushed(each.address):
            _required(await ses.suppress(each.address, names[each.reason]))
            store.note_pushed(each.address)
            put += 1
    return put


async def allow(ses: ControlPlane, store: Suppressions, keys: list[str]) -> int:
    """Take addresses off SES's list; how many were on it. Raises SourceUnavailableError."""
    gone = 0
    for key in keys:
        found = await ses.allow(key)
        if not (isinstance(found, Unread) and found.why is Why.MISSING):
            _required(found)
            gone += 1
        store.forget_pushed(key)
    return gone


def _suppression(entry: SuppressedAddress) -> Suppression | None:
    """Return the entry as ours; None if its address or reason cannot be one."""
    reason = OF_SES.get(entry.reason)
    try:
        key = addresses.normalise(entry.address).key
    except addresses.AddressError:
        return None
    if reason is None:
        return None
    return Suppression(key, reason, SCOPE_OF[reason], entry.at, SOURCE)


def _required(found: Read | Unread) -> Read:
    if isinstance(found, Unread):
        raise SourceUnavailableError(
            f"{found.operation}: {found.why.value}: {found.text}; what came before is stored, and "
            "the same command goes on"
        )
    return found
