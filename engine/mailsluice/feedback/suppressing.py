"""Makes suppressions of hard bounces and complaints: once stored, and before they are deleted.

What the mail of other programs on the account has led to counts as well: an address that does not
work does not work for anybody. Mail to SES's mailbox simulator suppresses nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mailsluice.feedback import fate
from mailsluice.feedback.records import Kind, Parsed, SesEvent
from mailsluice.model import SIMULATOR_DOMAIN
from mailsluice.suppression.scopes import ALL, SCOPE_OF, Reason, Suppression
from mailsluice.suppression.store import SoftBounce, Suppressions


class Told(NamedTuple):
    """What events say about addresses."""

    suppressions: list[Suppression]
    soft: list[SoftBounce]
    delivered: list[tuple[str, float]]
    """Addresses, and when."""


class Suppressing:
    """An `ingest.Act` on one store, of which it must be the only user in its thread."""

    def __init__(self, store: Suppressions, soft_after: int) -> None:
        """`soft_after` is how many soft bounces in a row suppress an address; 0: none do."""
        self._store = store
        self._soft_after = soft_after

    def __call__(self, parsed: Sequence[Parsed]) -> None:
        """Suppress; durable on return. Raises StoreError."""
        told = read(parsed)
        suppressions = told.suppressions
        if self._soft_after and (told.soft or told.delivered):
            reached = self._store.note_soft(told.soft, told.delivered, self._soft_after)
            why = f"{self._soft_after} soft bounces in a row"
            suppressions += [
                Suppression(address, Reason.BOUNCE, ALL, at, why) for address, at in reached
            ]
        if suppressions:
            self._store.add(suppressions)


def read(parsed: Iterable[Parsed]) -> Told:
    """Return what events say about addresses. Pure."""
    told = Told([], [], [])
    for event in parsed:
        if not isinstance(event, SesEvent) or event.at is None:
            continue
        bits = fate.of(event).bits
        if bits & fate.HARD:
            told.suppressions.extend(_suppressions(event, Reason.BOUNCE))
        elif bits & fate.COMPLAINED:
            told.suppressions.extend(_suppressions(event, Reason.COMPLAINT))
        elif bits & fate.SOFT:
            mail = event.message_id
            told.soft.extend(SoftBounce(each, mail, event.at) for each in whom(event))
        elif event.kind is Kind.DELIVERY:
            told.delivered.extend((each, event.at) for each in whom(event))
    return told


def _suppressions(event: SesEvent, reason: Reason) -> Iterator[Suppression]:
    assert event.at is not None
    source = f"{event.tag.run}-{event.tag.row}" if event.tag else f"SES {event.message_id}"
    for address in whom(event):
        yield Suppression(address, reason, SCOPE_OF[reason], event.at, source)


def whom(event: SesEvent) -> list[str]:
    """Return the addresses of the mail that an event is about, as they are compared.

    A remote server may name an address to which it forwards: a mail that went to one address is
    about that one. Of several, only those count that the event names.
    """
    sent_to = [_bare(each) for each in event.destinations]
    named = [_bare(each) for each in event.recipients]
    if len(sent_to) == 1:
        found = sent_to
    else:
        found = [each for each in named if each in sent_to or not sent_to]
    return [each for each in found if "@" in each and not each.endswith(SIMULATOR_DOMAIN)]


def _bare(address: str) -> str:
    return address.rpartition("<")[2].rstrip("> ").strip().lower()
