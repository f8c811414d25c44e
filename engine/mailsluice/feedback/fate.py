"""A recipient's fate: the sum of its events. Pure.

Events come late, in any order, and up to eight times. A `Fate` is therefore a set of bits with the
first and the last time: two fates are joined by "or", minimum and maximum, so every order and every
number of copies gives the same. Fates are kept per MessageId: a mail that failed to render and was
sent again has two, and each keeps what happened to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from mailsluice.feedback.records import Kind, SesEvent
from mailsluice.model import SIMULATOR_DOMAIN, State

SENT = 1
"""SES has accepted it, and no more is known."""
DELAYED = 2
DELIVERED = 4
SOFT = 8
"""Bounced, and the address may work another time. SES has given up on this mail."""
HARD = 16
"""Bounced, and the address does not work."""
COMPLAINED = 32
RENDER_FAILED = 64
"""Never delivered: the template could not be rendered with its data."""
REJECTED = 128
"""Never delivered: SES found a virus."""
SUPPRESSED_BY_SES = 256
"""Never delivered: the account's own suppression list. AWS does not count it as a bounce."""
UNHEARD_COMPLAINTS = 512
"""No complaint can come: its provider reports none to SES. Says nothing of what happened."""
EXEMPT = 1024
"""SES's mailbox simulator, which AWS counts nowhere. Says nothing of what happened."""

_HAPPENED = UNHEARD_COMPLAINTS - 1

WORDS = {
    SUPPRESSED_BY_SES: "suppressed by SES",
    REJECTED: "rejected",
    RENDER_FAILED: "render failed",
    COMPLAINED: "complained",
    HARD: "bounced",
    SOFT: "soft bounced",
    DELIVERED: "delivered",
    DELAYED: "delayed",
    SENT: "sent",
}
"""The worst first."""

NO_COMPLAINTS_FROM = ("@gmail.com", "@googlemail.com")
"""Google has a feedback loop of its own, and gives SES nothing."""

_UNUSUAL = (*NO_COMPLAINTS_FROM, SIMULATOR_DOMAIN)

_NOT_BOUNCES = {"OnAccountSuppressionList", "UnsubscribedRecipient"}
"""Sub types of permanent bounces of mail that SES did not send at all."""

_REACHED = DELAYED | DELIVERED | SOFT | HARD | COMPLAINED
"""What cannot happen to a mail that was never rendered."""


_new = tuple.__new__  # a NamedTuple's own __new__ takes twice as long


class Fate(NamedTuple):
    """What has become of one mail so far."""

    bits: int
    first_at: int | None
    """Time of the first event, in whole seconds since the epoch."""
    last_at: int | None


class Proof(NamedTuple):
    """What events prove about a recipient in doubt."""

    state: State
    """SENT, REJECTED, or FAILED, which may be sent again."""
    message_ids: tuple[str, ...]
    """SES's, all of them; more than one is a mail that went out twice."""


def of(event: SesEvent) -> Fate:
    """Make the fate that one event tells. Bits are 0 if it tells nothing of what happened."""
    bits = _BY_KIND.get(event.kind)
    if bits is None:
        bits = _of_bounce(event) if event.kind is Kind.BOUNCE else _of_complaint(event)
    if bits:
        bits |= of_destinations(event.destinations)
    at = None if event.at is None else int(event.at)
    return _new(Fate, (bits, at, at))


def join(one: Fate, other: Fate) -> Fate:
    """Join two fates of one mail."""
    joined = (
        one.bits | other.bits,
        _least(one.first_at, other.first_at),
        _most(one.last_at, other.last_at),
    )
    return _new(Fate, joined)


def word(bits: int) -> str:
    """Name the worst that has happened, for people. Empty if there was no event."""
    return next((text for bit, text in WORDS.items() if bits & bit), "")


def proof(fates: Mapping[str, Fate], known: Collection[str] = ()) -> Proof | None:
    """Return what its fates per MessageId prove about a recipient in doubt. None: nothing.

    `known` are MessageIds that SES has answered for this recipient: they belong to other attempts,
    and say nothing of the one in doubt. That one may be repeated only if nothing contradicts that
    it was not rendered.
    """
    heard = {
        id_: fate.bits for id_, fate in fates.items() if fate.bits & _HAPPENED and id_ not in known
    }
    if not heard:
        return None
    states = {_state(bits) for bits in heard.values()}
    state = next(each for each in (State.SENT, State.REJECTED, State.FAILED) if each in states)
    return Proof(state, tuple(sorted(heard)))


def latest(fates: Mapping[str, Fate]) -> Fate:
    """Return the fate of a recipient's last mail, which counts if it was sent more than once."""
    _, found = max(fates.items(), key=lambda each: (each[1].first_at or 0, each[0]))
    return found


def _state(bits: int) -> State:
    if bits & _REACHED:
        return State.SENT
    if bits & REJECTED:
        return State.REJECTED
    return State.FAILED if bits & RENDER_FAILED else State.SENT


_BY_KIND = {
    # Who opens a mail, clicks in it or unsubscribes by it has got it.
    Kind.SEND: SENT,
    Kind.DELIVERY: DELIVERED,
    Kind.REJECT: REJECTED,
    Kind.RENDERING_FAILURE: RENDER_FAILED,
    Kind.DELIVERY_DELAY: DELAYED,
    Kind.OPEN: DELIVERED,
    Kind.CLICK: DELIVERED,
    Kind.SUBSCRIPTION: DELIVERED,
    Kind.OTHER: 0,
}


def _of_bounce(event: SesEvent) -> int:
    if event.sub_type in _NOT_BOUNCES:
        return SUPPRESSED_BY_SES
    return HARD if event.type == "Permanent" else SOFT


def _of_complaint(event: SesEvent) -> int:
    if event.sub_type == "OnAccountSuppressionList":
        return SUPPRESSED_BY_SES
    return SENT if event.type == "not-spam" else COMPLAINED


def of_destinations(destinations: tuple[str, ...]) -> int:
    """Return the bits that say who will not be heard of, by a mail's addresses."""
    bits = UNHEARD_COMPLAINTS | EXEMPT if destinations else 0
    for each in destinations:
        address = each.rstrip("> ").lower()
        if not address.endswith(_UNUSUAL):
            return 0
        bits &= EXEMPT if address.endswith(SIMULATOR_DOMAIN) else UNHEARD_COMPLAINTS
    return bits


def _least(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _most(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
