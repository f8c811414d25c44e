"""What the emulator publishes about accepted mail: shapes, rules, ways, and their determinism."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import orjson
import pytest

from mailsluice.emulator import (
    ConfigurationSet,
    EmulatorOptions,
    EventDestination,
    Resources,
    Template,
)
from mailsluice.emulator.events import records
from mailsluice.emulator.events.plan import Mail, plan
from mailsluice.emulator.events.publisher import Publisher
from mailsluice.emulator.events.script import Script, load, parse
from mailsluice.emulator.exchange import Request
from mailsluice.emulator.service import BULK, Service
from mailsluice.feedback.records import Kind, SesEvent
from mailsluice.feedback.records import parse as read
from mailsluice.model.errors import ConfigurationError
from tests.feedback import shapes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.emulator.conftest import Pair
    from tests.support.aws import Aws

AT = 1_700_000_000.0
EVERYTHING = {
    "address": "*@all.example",
    "delay": 1,
    "complaint": 1,
    "open": 1,
    "click": 1,
    "unsubscribe": 1,
}
AT_ONCE: dict[str, Any] = {"publishing_s": 0} | {
    "rule": [{"delivery_s": 0, "bounce_s": 0, "bounce": 0.2, "address": "*@fast.example"}]
}
IN_A_SET = {"ConfigurationSetName": "default"}


def mail(number: int = 1, address: str = "", **changes: Any) -> Mail:
    """An accepted mail to `address`, or a made-up one, tagged with the number."""
    plain = Mail(
        message_id=f"0100{number:012x}-1a2b3c4d-1a2b-4a2b-8a2b-{number:012x}-000000",
        at=AT,
        source="News <news@example.org>",
        to=(address or f"a{number}@example.com",),
        cc=(),
        bcc=(),
        tags={"mailsluice-id": f"run-{number}"},
        template="welcome",
        configuration_set="default",
        error=None,
    )
    return plain._replace(**changes)


def script(**fields: Any) -> Script:
    return parse(fields, "events")


def kinds_of(*mails: Mail, **fields: Any) -> Counter[str]:
    planned = [each for m in mails for each in plan(m, script(**fields), records.KINDS)]
    return Counter(each.event.kind for each in planned)


def published(*mails: Mail, **fields: Any) -> list[bytes]:
    publisher = Publisher(script(**fields))
    publisher.accept(mails, records.KINDS)
    return publisher.due(float("inf"))


def every_kind() -> list[Mail]:
    return [
        mail(1, "a@all.example"),
        mail(2, "b@bounces.example"),
        mail(3, "c@virus.example"),
        mail(4, error="Attribute 'name' is not present in the rendering data."),
    ]


RULES = [
    EVERYTHING,
    {"address": "*@bounces.example", "bounce": 1},
    {"address": "*@virus.example", "reject": 1},
]


def test_each_of_the_ten_kinds_has_the_keys_that_ses_documents() -> None:
    bodies = published(*every_kind(), rule=RULES, wrapping="raw")
    found = {record["eventType"]: record for record in map(orjson.loads, bodies)}
    assert found.keys() == shapes.ALL.keys()
    for kind, real in shapes.ALL.items():
        (section,) = real.keys() - {"eventType", "mail"}
        assert found[kind].keys() == real.keys(), kind
        assert found[kind][section].keys() >= real[section].keys(), kind
        assert found[kind]["mail"].keys() == real["mail"].keys(), kind
        tags = found[kind]["mail"]["tags"]
        assert tags.keys() >= real["mail"]["tags"].keys(), kind
        assert all(isinstance(value, list) for value in tags.values()), kind


@pytest.mark.parametrize("wrapping", ["raw", "sns", "eventbridge"])
def test_a_reader_that_shares_no_code_understands_every_wrapping(wrapping: str) -> None:
    heard = [
        event
        for body in published(*every_kind(), rule=RULES, wrapping=wrapping)
        for event in read(body)
    ]
    assert all(isinstance(event, SesEvent) and event.tag is not None for event in heard)
    assert {event.kind for event in heard if isinstance(event, SesEvent)} == {
        kind for kind in Kind if kind is not Kind.OTHER
    }


def test_what_becomes_of_a_recipient_depends_on_seed_and_tag_alone() -> None:
    rules = [{"bounce": 0.1, "soft_bounce": 0.1, "complaint": 0.1, "open": 0.5}]
    mails = [mail(number) for number in range(1, 400)]

    def lives(some: list[Mail], seed: int) -> dict[str, list[tuple[str, float]]]:
        planned = {
            m.tags["mailsluice-id"]: plan(m, script(seed=seed, rule=rules), records.KINDS)
            for m in some
        }
        return {
            tag: [(each.event.kind, each.arrives_at - each.event.mail.at) for each in found]
            for tag, found in planned.items()
        }

    later = [m._replace(message_id=f"x{m.message_id}", at=AT + 2**20) for m in reversed(mails)]
    assert lives(mails, 1) == lives(later, 1) != lives(mails, 2)


def test_shares_add_up_and_exclude_each_other() -> None:
    rule = {"silent": 0.1, "reject": 0.1, "bounce": 0.2, "soft_bounce": 0.1, "late_bounce": 0.5}
    many = [mail(number) for number in range(1, 4_001)]
    found = kinds_of(*many, rule=[rule])
    # The draws are the seed's: these are what 4,000 of them give, near 90, 10, 50 and 55 percent.
    assert abs(found["Send"] - 3_600) < 100
    assert abs(found["Reject"] - 400) < 80
    assert abs(found["Delivery"] - 2_000) < 130
    assert abs(found["Bounce"] - (800 + 400 + 1_000)) < 160
    for each in many:
        one = kinds_of(each, rule=[rule])
        assert one["Reject"] + one["Delivery"] <= 1 >= one["Bounce"]


def test_copies_loss_and_disorder_are_the_script_s() -> None:
    many = [mail(number) for number in range(1, 501)]
    assert kinds_of(*many) == {"Send": 500, "Delivery": 500}
    assert not kinds_of(*many, loss=1)
    copied = kinds_of(*many, copies=1)
    assert 2 * 500 < copied["Send"] < 8 * 500
    bodies = published(mail(), copies=1, wrapping="sns", rule=[{"delivery_s": 1}])
    ids = Counter(orjson.loads(body)["MessageId"] for body in bodies)
    assert len(ids) == 2, "the copies of an event have one id of SNS"
    assert min(ids.values()) >= 2
    order = [orjson.loads(body)["eventType"] for body in published(*many, wrapping="raw")]
    assert order != sorted(order, reverse=True), "in order of their times, not of their mails"
    shuffled = published(*many, wrapping="raw", shuffle_s=1_000)
    assert [orjson.loads(body)["eventType"] for body in shuffled] != order


def test_an_event_is_published_at_its_time_on_any_clock() -> None:
    publisher = Publisher(script(publishing_s=2, rule=[{"delivery_s": 10}], wrapping="raw"))
    publisher.accept([mail()], records.KINDS)
    assert (publisher.next_at, publisher.due(AT + 1.9)) == (AT + 2, [])
    (sent,) = publisher.due(AT + 11)
    (delivered,) = publisher.due(AT + 12)
    assert orjson.loads(sent)["eventType"] == "Send"
    assert orjson.loads(delivered)["delivery"]["processingTimeMillis"] == 10_000
    assert (publisher.next_at, publisher.planned, publisher.published) == (None, 0, 2)


def test_a_simulation_drives_the_service_and_its_events() -> None:
    service = Service(EmulatorOptions(credentials=None, events=script(wrapping="raw")))
    body = {
        "FromEmailAddress": "News <news@example.com>",
        "ConfigurationSetName": "default",
        "DefaultContent": {"Template": {"TemplateName": "welcome"}},
        "BulkEmailEntries": [
            {
                "Destination": {"ToAddresses": ["a@example.com"], "CcAddresses": ["b@example.com"]},
                "ReplacementTags": [{"Name": "mailsluice-id", "Value": "run-7"}],
            }
        ],
    }
    service.handle(Request(*BULK, {}, orjson.dumps(body)), 5.0, AT + 5)
    assert service.publisher is not None
    found = [orjson.loads(each) for each in service.publisher.due(AT + 1e6)]
    assert [record["eventType"] for record in found] == ["Send", "Delivery", "Delivery"]
    assert all(
        record["mail"]["destination"] == ["a@example.com", "b@example.com"] for record in found
    )
    told = [record["delivery"]["recipients"] for record in found[1:]]
    assert sorted(told) == [["a@example.com"], ["b@example.com"]]


@pytest.mark.parametrize(
    ("address", "kinds", "sub_type"),
    [
        ("success@simulator.amazonses.com", ["Send", "Delivery"], None),
        ("bounce+x@simulator.amazonses.com", ["Send", "Bounce"], "General"),
        ("suppressionlist@simulator.amazonses.com", ["Send", "Bounce"], "Suppressed"),
        ("complaint@simulator.amazonses.com", ["Send", "Delivery", "Complaint"], None),
    ],
)
def test_the_mailbox_simulator_does_what_it_does(
    address: str, kinds: list[str], sub_type: str | None
) -> None:
    planned = plan(
        mail(address=address), script(rule=[{"reject": 0, "soft_bounce": 1}]), records.KINDS
    )
    assert [each.event.kind for each in planned] == kinds
    assert {each.event.sub_type for each in planned if each.event.kind == "Bounce"} == {
        *([sub_type] if sub_type else [])
    }


def test_a_send_before_a_rendering_failure_is_an_option() -> None:
    failing = mail(error="Attribute 'name' is not present in the rendering data.")
    assert kinds_of(failing) == {"Rendering Failure": 1}
    assert kinds_of(failing, send_before_failure=True) == {"Send": 1, "Rendering Failure": 1}


async def test_only_what_a_configuration_set_asks_for_is_published(
    start: Callable[..., Awaitable[Pair]],
) -> None:
    silent = EventDestination(name="off", enabled=False)
    bounces = EventDestination(name="bounces", events=("BOUNCE",))
    sets = {"bounces": ConfigurationSet(destinations=(silent, bounces))}
    pair = await start(events=script(**AT_ONCE), resources=Resources(configuration_sets=sets))
    addresses = [f"a{number}@fast.example" for number in range(50)]
    await pair.send(*addresses)
    await pair.send(*addresses, ConfigurationSetName="bounces")
    pair.emulator.publish_all()
    statistics = pair.emulator.statistics()
    assert statistics.events_planned + sum(statistics.events.values()) > 0
    assert statistics.events.keys() <= {"Bounce"}


async def test_a_failure_of_the_renderer_is_published(
    start: Callable[..., Awaitable[Pair]],
) -> None:
    pair = await start(
        events=script(publishing_s=0, wrapping="raw"),
        resources=Resources(templates={"welcome": Template(subject="Hello {{name}}", text=".")}),
    )
    await pair.send("ann@example.com", **IN_A_SET)
    record = orjson.loads(await soon(pair))
    assert record["failure"] == {
        "errorMessage": "Attribute 'name' is not present in the rendering data.",
        "templateName": "welcome",
    }
    assert record["mail"]["tags"]["mailsluice-id"] == ["run-1"]


async def soon(pair: Pair, count: int = 1) -> bytes:
    """The first event, once `count` are written."""
    assert await asyncio.to_thread(pair.emulator.wait_for, events=count, timeout_s=30)
    return pair.emulator.events()[0]


async def test_events_go_into_a_queue_and_a_file(
    start: Callable[..., Awaitable[Pair]], aws: Aws, tmp_path: Path
) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName="emulated-events")["QueueUrl"]
    file = tmp_path / "events.ndjson"
    pair = await start(events=script(queue=url, file=file, **AT_ONCE))
    await pair.send(*(f"a{number}@fast.example" for number in range(12)), **IN_A_SET)
    await soon(pair, 24)
    lines = file.read_bytes().splitlines()
    assert (len(lines), file.stat().st_mode & 0o777) == (24, 0o600)
    assert lines == pair.emulator.events()
    assert pair.emulator.events(after=23) == lines[23:]
    got: list[bytes] = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        got += [message["Body"].encode() for message in found]
    assert sorted(got) == sorted(lines)


async def test_other_processes_read_events_and_have_them_published(
    start: Callable[..., Awaitable[Pair]],
) -> None:
    pair = await start(events=script(publishing_s=3_600, kept=3))
    await pair.send("a@example.com", "b@example.com", **IN_A_SET)
    url = f"{pair.emulator.url}/_emulator/events"
    async with aiohttp.ClientSession() as session:
        assert await (await session.get(url)).read() == b""
        assert (await session.post(url)).status == 204
        assert await asyncio.to_thread(pair.emulator.wait_for, events=4, timeout_s=30)
        assert len((await (await session.get(f"{url}?after=1")).read()).splitlines()) == 3
        answer = await session.get(url)
        assert (answer.status, (await answer.json())["message"]) == (
            400,
            "the first 1 events are gone: ask after 1",
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sed = 1", "sed: it is not known"),
        ("loss = 2", "loss: it must be 1 or less"),
        ('wrapping = "x"', 'wrapping: it must be "sns", "raw" or "eventbridge"'),
        ("[[rule]]\nbounce = 0.7\nsoft_bounce = 0.7", "exclude each other"),
        ("[[rule]]\nbounce_s = { median = -1 }", "bounce_s.median: it must be 0 or more"),
        ('queue = "https://sqs.eu-west-1.amazonaws.com/1/q"', "do not belong into a queue of AWS"),
        ('queue = "q"', "it must be the URL of an SQS queue"),
        ("x", "is not valid TOML"),
    ],
)
def test_a_wrong_script_names_file_field_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "events.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=f"events.toml: .*{message}"):
        load(file)
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read"):
        load(tmp_path / "none.toml")


async def test_a_file_that_cannot_be_opened_is_named(
    start: Callable[..., Awaitable[Pair]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="the events' file cannot be opened"):
        await start(events=script(file=tmp_path / "none" / "events.ndjson"))
