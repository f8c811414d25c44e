"""What a mailing's configuration set does, and which events it publishes. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mailsluice.checking.facts import Facts
from mailsluice.checking.findings import Finding, finding
from mailsluice.ses.inspector import ConfigurationSet, EventDestination, Unread, Why

NEEDED = ("SEND", "DELIVERY", "BOUNCE", "COMPLAINT", "REJECT", "RENDERING_FAILURE")
"""Event types without which somebody learns of a recipient's end too late, or never."""

DELIVERY_S_SHORT = 3_600
"""Less is short of one retry of a greylisting or crowded mail server."""


def judge(facts: Facts, named: str | None) -> Iterator[Finding]:
    """Judge the configuration set's state. `named` is the mailing's; None: it names none."""
    found = facts.configuration_set
    if found is None:
        if named is None and facts.identity is not None:
            yield finding(
                "CONFIGURATION_SET_NONE", "the mailing has no configuration set, and so no events"
            )
        return
    if isinstance(found, Unread):
        if found.why is Why.MISSING:
            yield finding(
                "CONFIGURATION_SET_NOT_FOUND",
                f"there is no configuration set {named or 'of the identity'} in this region",
            )
        return
    yield from _judge_set(found)
    if isinstance(facts.destinations, tuple):
        yield from _judge_destinations(found.name, facts.destinations)


def _judge_set(found: ConfigurationSet) -> Iterator[Finding]:
    name = f"the configuration set {found.name}"
    if not found.sending_enabled:
        yield finding("CONFIGURATION_SET_SENDING_PAUSED", f"{name} is paused")
    if found.suppressed_reasons is not None:
        lacking = [each for each in ("BOUNCE", "COMPLAINT") if each not in found.suppressed_reasons]
        if lacking:
            yield finding(
                "SUPPRESSION_OFF",
                f"{name} has SES mail addresses again after a {' or a '.join(lacking).lower()}",
            )
    if found.max_delivery_s is not None and found.max_delivery_s < DELIVERY_S_SHORT:
        yield finding(
            "DELIVERY_SHORT", f"with {name} SES gives a mail up after {found.max_delivery_s:,} s"
        )
    if found.validates:
        yield finding(
            "AUTO_VALIDATION", f"with {name} SES itself suppresses addresses that it thinks invalid"
        )


def _judge_destinations(name: str, destinations: tuple[EventDestination, ...]) -> Iterator[Finding]:
    published = {event for each in destinations if each.enabled for event in each.events}
    if not published:
        off = " (there is one, which is disabled)" if destinations else ""
        yield finding("EVENTS_NONE", f"the configuration set {name} publishes no events{off}")
        return
    if lacking := [event for event in NEEDED if event not in published]:
        told = ", ".join(lacking)
        yield finding("EVENTS_MISSING", f"the configuration set {name} does not publish {told}")


def judge_unread(facts: Facts) -> Iterator[Finding]:
    """Report what could not be read, of whatever kind; conclude nothing from it."""
    forbidden = sorted({each.operation for each in facts.unread if each.why is Why.NOT_PERMITTED})
    if forbidden:
        yield finding(
            "NOT_PERMITTED", f"these credentials may not call {', '.join(forbidden)}: not checked"
        )
    silent = {each.operation: each.text for each in facts.unread if each.why is Why.NO_ANSWER}
    for operation, text in sorted(silent.items()):
        yield finding("NOT_ANSWERED", f"{operation}: {text or 'no answer'}: not checked")
    if facts.trouble is not None:
        yield finding("NOT_ANSWERED", facts.trouble)
