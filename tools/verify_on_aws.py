"""Ask a real SES account what its documentation leaves open; see docs/verify-on-aws.md.

usage: python -m tools.verify_on_aws --from ADDRESS --configuration-set NAME --queue URL
           [--mails N] [--wait SECONDS] [--linger SECONDS] [--region REGION] [--profile NAME]

Mails the mailbox simulator only, renders a template that it makes and deletes, and reads the queue
empty, so name a queue that is used for nothing else. Prints what it has learnt, fact by fact.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mailsluice import (
    Content,
    Engine,
    Mailing,
    MailsluiceError,
    QuotaSettings,
    Recipient,
    SesSettings,
    Settings,
)
from mailsluice.mailing.rendering import Source, Template, Verdict
from mailsluice.model.errors import root_of
from mailsluice.ses import aws
from mailsluice.ses.aws.sqs import BATCH_MAX, Queue

ID_TAG = "mailsluice-id"
FAILURE = "Rendering Failure"
SIMULATOR = "simulator.amazonses.com"

PAUSE_S = 1.0
"""SES takes one call a second of each operation on templates."""

DEFAULT_TAGS = {"verify-default": "default", "verify-both": "default"}
ENTRY_TAGS = {"verify-entry": "entry", "verify-both": "entry"}

CASES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("{{x}}", {}),
    ("{{x}}", {"x": None}),
    ("{{x}}", {"x": ""}),
    ("{{x}}", {"x": False}),
    ("{{#if x}}yes{{else}}no{{/if}}", {}),
    ("{{#if x}}yes{{else}}no{{/if}}", {"x": None}),
    ("{{#if x}}yes{{else}}no{{/if}}", {"x": ""}),
    ("{{#if x}}yes{{else}}no{{/if}}", {"x": 0}),
    ("{{#if x}}yes{{else}}no{{/if}}", {"x": []}),
    ("{{#each x}}{{this}}{{else}}none{{/each}}", {}),
    ("{{#each x}}{{this}}{{else}}none{{/each}}", {"x": None}),
    ("{{#each x}}{{this}}{{else}}none{{/each}}", {"x": []}),
    ("{{#each x}}{{@index}}={{this}} {{/each}}", {"x": ["a", "b"]}),
    ("{{#each x}}{{@key}}={{this}} {{/each}}", {"x": {"a": "b"}}),
    ("{{#with x}}{{y}}{{/with}}", {"x": {"y": "in"}}),
    ("{{#with x}}{{y}}{{/with}}", {}),
    ("{{lookup x 0}}", {"x": ["first"]}),
    ("{{x.y}}", {"x": {}}),
)
"""Templates and data of which the documentation does not say what SES makes."""


class Heard(NamedTuple):
    """One event from the queue."""

    kind: str
    record: dict[str, Any]
    came_at: float

    @property
    def mail(self) -> dict[str, Any]:
        """What it is about."""
        found: dict[str, Any] = self.record["mail"]
        return found

    @property
    def box(self) -> str:
        """The simulator's address, without its label."""
        address: str = self.mail["destination"][0]
        return address.partition("+")[0]

    @property
    def late_s(self) -> float:
        """From SES's answer until it was here, seconds."""
        return self.came_at - _epoch(self.mail["timestamp"])


class Sent(NamedTuple):
    """Mails, and the events that came of them."""

    mails: int
    heard: list[Heard]

    def of(self, *kinds: str) -> list[Heard]:
        """Return the events of these kinds, in the order in which they came."""
        return [each for each in self.heard if each.kind in kinds]


BOXES = {
    "success": "Delivery",
    "ooto": "Delivery",
    "bounce": "Bounce",
    "suppressionlist": "Bounce",
    "complaint": "Complaint",
}
"""The simulator's addresses, and the last event of each."""

PLAIN = Content(subject="Verification {{number}}", text="x")
BROKEN = Content(subject="{{missing}}", text="x")


Done = Callable[[Sent], object]
"""Says, by what it returns, whether everything has been heard."""


class Verifier:
    """Sends, listens, and prints."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._asked = arguments

    async def run(self) -> None:
        """Establish the six facts. Raises MailsluiceError and what the SDK raises."""
        await self._receive(lambda _: True)  # what is in the queue from before
        say_rendering(await self._render_all())
        say_failure(await self._send(BROKEN, ["success"], lambda sent: sent.of(FAILURE)))
        say_tags_and_types(
            await self._send(PLAIN, BOXES, lambda sent: set(BOXES.items()) <= set(_ends(sent)))
        )
        many = ["success"] * self._asked.mails
        say_latency(await self._send(PLAIN, many, lambda sent: len(_sends(sent)) >= sent.mails))

    async def _send(self, content: Content, boxes: Iterable[str], done: Done) -> Sent:
        """Mail each of these boxes. Return with what was heard."""
        asked = self._asked
        mailing = Mailing(
            from_address=asked.sender,
            content=content,
            configuration_set=asked.configuration_set,
            tags=DEFAULT_TAGS,
        )
        recipients = [
            Recipient(to=f"{box}+{number}@{SIMULATOR}", data={"number": number}, tags=ENTRY_TAGS)
            for number, box in enumerate(boxes)
        ]
        settings = Settings(
            quota=QuotaSettings(reserve=0),
            ses=SesSettings(region=asked.region, profile=asked.profile),
        )
        mails = len(recipients)
        async with asyncio.TaskGroup() as tasks:  # what is late must not be so for our sake
            heard = tasks.create_task(self._receive(lambda found: bool(done(Sent(mails, found)))))
            with tempfile.TemporaryDirectory() as folder:
                journal = Path(folder) / "verify.journal"
                async with Engine.open(settings, journal=journal) as engine:
                    report = await engine.run(mailing, recipients)
            if report.counts.sent != mails:
                raise MailsluiceError(f"not all were sent: {report.hold or report.counts}")
        return Sent(mails, heard.result())

    async def _receive(self, done: Callable[[list[Heard]], bool]) -> list[Heard]:
        """Receive and delete until it is `done`, and for a while longer."""
        asked = self._asked
        heard: list[Heard] = []
        last = time.monotonic()
        done_at: float | None = None
        queue = Queue(
            asked.queue,
            visibility_s=60,
            wait_s=1,
            region=asked.region,
            profile=asked.profile,
            setting="--queue",
        )
        async with queue:
            await queue.look()
            while time.monotonic() < last + asked.wait:
                if received := await queue.receive(BATCH_MAX):
                    last = time.monotonic()
                    now = time.time()
                    heard += [each for message in received for each in read(message.body, now)]
                    await queue.delete(received)
                elif done_at is not None and time.monotonic() >= done_at + asked.linger:
                    break
                if done_at is None and done(heard):
                    done_at = time.monotonic()
        return heard

    async def _render_all(self) -> list[tuple[str, dict[str, Any], str, str]]:
        """Have SES render each case. Return it with SES's answer and what mailsluice expects."""
        asked = self._asked
        name = f"mailsluice-verify-{int(time.time())}"
        found = []
        async with aws.session(asked.profile, asked.region).client("sesv2") as ses:
            for template, data in CASES:
                content = {"Subject": "s", "Text": f"[{template}]"}
                expected = _expected(content["Text"], data)
                try:
                    await ses.create_email_template(TemplateName=name, TemplateContent=content)
                except ses.exceptions.ClientError as error:
                    found.append((template, data, f"refused: {_told(error)}", expected))
                    continue
                try:
                    answer = await ses.test_render_email_template(
                        TemplateName=name, TemplateData=json.dumps(data)
                    )
                    _, _, body = answer["RenderedTemplate"].replace("\r\n", "\n").partition("\n\n")
                    rendered = body[body.index("[") + 1 : body.rindex("]")]
                    found.append((template, data, repr(rendered), expected))
                except ses.exceptions.ClientError as error:
                    found.append((template, data, f"fails: {_told(error)}", expected))
                finally:
                    await ses.delete_email_template(TemplateName=name)
                    await asyncio.sleep(PAUSE_S)
        return found


def read(body: str, came_at: float) -> Iterator[Heard]:
    """Take a record out of SNS's or EventBridge's wrapping, if it has one."""
    try:
        record = json.loads(body)
        if "Message" in record:
            record = json.loads(record["Message"])
        record = record.get("detail", record)
        yield Heard(record["eventType"], record, came_at)
    except (ValueError, KeyError, AttributeError, TypeError):
        print(f"   a body that is no event: {body[:80]!r}")


def say_failure(sent: Sent) -> None:
    """Fact 1."""
    failures = sent.of(FAILURE)
    title("1. Custom tags on a Rendering Failure, and whether a Send comes before it")
    if not failures:
        print("   no Rendering Failure came: is RENDERING_FAILURE in the event destination?")
        return
    tags = failures[0].mail.get("tags", {})
    said = "yes" if ID_TAG in tags else "NO: doubts of such mails cannot be settled"
    print(f"   custom tags: {said}; all tags: {', '.join(sorted(tags))}")
    print(f"   a Send for the same mail: {'yes' if sent.of('Send') else 'no'}")
    print(f"   errorMessage: {failures[0].record['failure'].get('errorMessage')}")
    print(f"   it came {failures[0].late_s:.1f} s after the mail was accepted")


def say_tags_and_types(sent: Sent) -> None:
    """Facts 4, 5 and 6."""
    title("4. Types of bounces and complaints (with Auto Validation or a tenant: theirs, too)")
    told = Counter(_types(each) for each in sent.heard)
    for line, count in sorted(told.items()):
        print(f"   {count:>4}  {line}")
    title("5. DefaultEmailTags and ReplacementTags in an event")
    for each in sent.heard[:1]:
        tags = each.mail.get("tags", {})
        for name in ("verify-default", "verify-both", "verify-entry", ID_TAG):
            print(f"   {name:<16}{tags.get(name, 'missing')}")
    title("6. How late bounces and complaints come (the simulator's; real ones are later)")
    for kind in ("Delivery", "Bounce", "Complaint"):
        print(f"   {kind:<12}{quantiles([each.late_s for each in sent.of(kind)])}")


def say_latency(sent: Sent) -> None:
    """Fact 2."""
    title(f"2. Send events of {sent.mails:,} mails to the simulator: how late, how many lost")
    sends = _sends(sent)
    copies = len(sent.of("Send")) - len(sends)
    lost = sent.mails - len(sends)
    print(f"   {quantiles([each.late_s for each in sends.values()])}")
    print(f"   lost {lost:,} ({lost / sent.mails:.2%}), copies {copies:,}")


def say_rendering(found: Iterable[tuple[str, dict[str, Any], str, str]]) -> None:
    """Fact 3."""
    title("3. Null, missing and empty values; @index, @key, with, lookup")
    for template, data, ses, ours in found:
        mark = "  " if ses.startswith(ours) else "! "
        print(f" {mark}{template:<44}{json.dumps(data):<24}SES {ses}")
        if mark != "  ":
            print(f"   {'':<68}mailsluice expects {ours}")


def title(text: str) -> None:
    """Print the heading of a fact."""
    print(f"\n{text}", flush=True)


def quantiles(seconds: Sequence[float]) -> str:
    """Say how late, in words."""
    if not seconds:
        return "none came"
    ordered = sorted(seconds)
    told = (ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.95, 0.99))
    half, most, nearly_all = told
    return (
        f"{len(ordered):,} came: p50 {half:.1f} s, p95 {most:.1f} s, p99 {nearly_all:.1f} s, "
        f"longest {ordered[-1]:.1f} s"
    )


def _sends(sent: Sent) -> dict[str, Heard]:
    """Return the first Send event of each mail."""
    return {each.mail["messageId"]: each for each in reversed(sent.of("Send"))}


def _ends(sent: Sent) -> Iterator[tuple[str, str]]:
    for each in sent.heard:
        yield each.box, each.kind


def _types(heard: Heard) -> str:
    bounce = heard.record.get("bounce", {})
    complaint = heard.record.get("complaint", {})
    parts = (
        heard.kind,
        bounce.get("bounceType"),
        bounce.get("bounceSubType"),
        complaint.get("complaintFeedbackType"),
        complaint.get("complaintSubType"),
    )
    return f"{heard.box:<18}{' / '.join(filter(None, parts))}"


def _expected(text: str, data: dict[str, Any]) -> str:
    """Return what mailsluice says of it before sending."""
    rendering = Template.stored(Source(text=text)).render(data)
    if rendering.verdict is Verdict.FINE:
        return repr((rendering.text or "")[1:-1])
    return "fails" if rendering.verdict is Verdict.FAILS else ""  # it cannot judge


def _told(error: Any) -> str:
    return str(error.response["Error"].get("Message", error))


def _epoch(text: str) -> float:
    from datetime import datetime  # noqa: PLC0415

    return datetime.fromisoformat(text).timestamp()


def main(arguments: Sequence[str]) -> int:
    """Run it. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.verify_on_aws", description=__doc__)
    parser.add_argument("--from", dest="sender", required=True, help="a verified identity")
    parser.add_argument("--configuration-set", required=True)
    parser.add_argument("--queue", required=True, help="where its events go; it is read empty")
    parser.add_argument("--mails", type=int, default=1_000, help="to measure latency and loss")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds of silence, at most")
    parser.add_argument("--linger", type=float, default=10.0, help="seconds for what comes late")
    parser.add_argument("--region")
    parser.add_argument("--profile")
    try:
        asyncio.run(Verifier(parser.parse_args(arguments)).run())
    except (MailsluiceError, BaseExceptionGroup) as error:
        cause = root_of(error) if isinstance(error, BaseExceptionGroup) else error
        print(f"verify_on_aws: {cause}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
