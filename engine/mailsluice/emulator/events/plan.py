"""From an accepted mail to the events that SES publishes about it, and when. Pure.

What becomes of a recipient depends on the script's seed and on the `mailsluice-id` tag (the
addresses, without one), and on nothing else: not on time, order, or other mail.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from mailsluice.emulator import mailboxes
from mailsluice.emulator.events.script import Lag

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mailsluice.emulator.events.script import Rule, Script

COPIES_MAX = 8
"""Of one event (sendgrid/mailcoach-support#75 saw as many)."""

ID_TAG = "mailsluice-id"

_SIMULATED_S = Lag(median=1)
"""What the mailbox simulator does, it does at once."""


class Mail(NamedTuple):
    """An accepted mail."""

    message_id: str
    at: float
    """When it was accepted, seconds since the epoch."""
    source: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    tags: dict[str, str]
    template: str
    """Name; empty for inline content."""
    configuration_set: str
    error: str | None
    """Why it cannot be rendered."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.to, *self.cc, *self.bcc)


class Event(NamedTuple):
    """What has happened to a mail."""

    kind: str
    """`eventType`."""
    at: float
    mail: Mail
    address: str = ""
    """Whom it is about, if not all."""
    type: str = ""
    """`bounceType`, `complaintFeedbackType`."""
    sub_type: str = ""


class Planned(NamedTuple):
    """An event on its way."""

    arrives_at: float
    event: Event


def plan(mail: Mail, script: Script, kinds: Collection[str]) -> list[Planned]:
    """List what will be published about a mail, of these kinds of events."""
    random = Random(f"{script.seed}/{mail.tags.get(ID_TAG) or '/'.join(mail.addresses)}")
    # All are drawn, so that a destination's choice of kinds changes nothing about the others.
    planned = [
        (event.kind, Planned(at, event))
        for event in _events(mail, script, random)
        for at in _arrivals(event.at, script, random)
    ]
    return [each for kind, each in planned if kind in kinds]


def _arrivals(at: float, script: Script, random: Random) -> Iterator[float]:
    """When an event comes: once, several times, or never."""
    lost = random.random() < script.loss
    times = random.randint(2, COPIES_MAX) if random.random() < script.copies else 1
    for _ in range(times):
        late = random.uniform(0, script.shuffle_s)
        arrives_at = at + script.publishing_s.draw(random) + late
        if not lost:
            yield arrives_at


def _events(mail: Mail, script: Script, random: Random) -> Iterator[Event]:
    rules = {address: script.rule_of(mailboxes.bare(address)) for address in mail.addresses}
    first = rules[mail.addresses[0]]
    if mail.error is not None:
        if script.send_before_failure:
            yield Event("Send", mail.at, mail)
        yield Event("Rendering Failure", mail.at, mail)
        return
    drawn = random.random()
    if drawn < first.silent:
        return
    yield Event("Send", mail.at, mail)
    if drawn < first.silent + first.reject:
        yield Event("Reject", mail.at + first.reject_s.draw(random), mail)
        return
    # What is left of the draw decides for the first address, so that the parts add up.
    left = 1 - first.silent - first.reject
    share = (drawn - first.silent - first.reject) / left if left else 0.0
    for number, (address, rule) in enumerate(rules.items()):
        yield from _of_address(mail, address, rule, random, random.random() if number else share)


def _of_address(
    mail: Mail, address: str, rule: Rule, random: Random, drawn: float
) -> Iterator[Event]:
    if (simulated := mailboxes.simulated(address)) is not None:
        yield from _simulated(mail, address, simulated, rule, random)
        return
    at = mail.at
    left = (1 - rule.silent - rule.reject) or 1.0
    if random.random() < rule.delay:
        at += rule.delay_s.draw(random)
        yield Event("DeliveryDelay", at, mail, address)
    if drawn < rule.bounce / left:
        at += rule.bounce_s.draw(random)
        yield Event("Bounce", at, mail, address, "Permanent", rule.bounce_sub_type)
    elif drawn < (rule.bounce + rule.soft_bounce) / left:
        at += rule.soft_bounce_s.draw(random)
        yield Event("Bounce", at, mail, address, "Transient", rule.soft_bounce_sub_type)
    else:
        at += rule.delivery_s.draw(random)
        yield Event("Delivery", at, mail, address)
        yield from _after_delivery(mail, address, rule, random, at)


def _after_delivery(
    mail: Mail, address: str, rule: Rule, random: Random, at: float
) -> Iterator[Event]:
    if random.random() < rule.late_bounce:
        bounced_at = at + rule.late_bounce_s.draw(random)
        yield Event("Bounce", bounced_at, mail, address, "Permanent", rule.bounce_sub_type)
        return
    if random.random() < rule.complaint:
        complained_at = at + rule.complaint_s.draw(random)
        yield Event("Complaint", complained_at, mail, address, rule.complaint_type)
    if random.random() < rule.unsubscribe:
        yield Event("Subscription", at + rule.unsubscribe_s.draw(random), mail, address)
    if random.random() < rule.open:
        opened_at = at + rule.open_s.draw(random)
        yield Event("Open", opened_at, mail, address)
        if random.random() < rule.click:
            yield Event("Click", opened_at + rule.click_s.draw(random), mail, address)


def _simulated(
    mail: Mail, address: str, simulated: mailboxes.Event, rule: Rule, random: Random
) -> Iterator[Event]:
    at = mail.at + _SIMULATED_S.draw(random)
    if simulated.type == "Bounce":
        yield Event("Bounce", at, mail, address, "Permanent", simulated.sub_type or "")
        return
    yield Event("Delivery", at, mail, address)
    if simulated.type == "Complaint":
        complained_at = at + _SIMULATED_S.draw(random)
        yield Event("Complaint", complained_at, mail, address, rule.complaint_type)
