"""What a program gives wrongly is an error at once, that names the argument."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from mailsluice import (
    ArgumentError,
    ArgumentTypeError,
    Engine,
    LaneSettings,
    Mailing,
    MailsluiceError,
    Message,
    QuotaSettings,
    Recipient,
    Settings,
    UsageError,
)
from mailsluice.config.settings import SesSettings
from mailsluice.emulator import Emulator
from mailsluice.journal.memory import MemoryJournal
from mailsluice.model import Account, Answer, EntryResult
from mailsluice.ses import Depart
from tests.support.waiting import PATIENCE_S

WELCOME = Mailing(from_address="news@example.com", template="welcome")
ANN = Message(WELCOME, to="ann@example.com")

Use = Callable[[Engine], Awaitable[object]]


@pytest.fixture
async def engine(ses_emulator: Emulator) -> AsyncIterator[Engine]:
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as opened:
        yield opened


def run(*args: Any, **named: Any) -> Use:
    return lambda engine: engine.run(*args, **named)


def send(*args: Any, **named: Any) -> Use:
    return lambda engine: engine.send(*args, **named)


WRONG = [
    (run(None, ["a@example.com"]), TypeError, "mailing is of type NoneType"),
    (run({"template": "t"}, ["a@example.com"]), TypeError, "mailing is of type dict"),
    (run(WELCOME, None), TypeError, "recipients must be an iterable, not NoneType"),
    (run(WELCOME, "a@example.com"), TypeError, "recipients must be an iterable, not str"),
    (run(WELCOME, b"a@example.com"), TypeError, "recipients must be an iterable, not bytes"),
    (run(WELCOME, Path("list.csv")), TypeError, "recipients must be an iterable, not PosixPath"),
    (run(WELCOME, 7), TypeError, "recipients must be an iterable, not int"),
    (run(WELCOME, Recipient("a@example.com")), TypeError, "not one Recipient: put it into a list"),
    (run(WELCOME, ANN), TypeError, "not one Message: put it into a list"),
    (run(WELCOME, {"a@example.com": {}}), TypeError, "not a mapping: make a Recipient of each"),
    (run(WELCOME, [], only="sent"), MailsluiceError, "only='sent': there are"),
    (run(WELCOME, [], only=["failed"]), MailsluiceError, "only=['failed']: there are"),
    (run(WELCOME, [], again="no"), TypeError, "again is of type str; it must be True or False"),
    (run(WELCOME, [], journal=3), TypeError, "journal is of type int; it must be the path"),
    (run(WELCOME, [], journal=b"j"), TypeError, "journal is of type bytes; it must be the path"),
    (run(WELCOME, [], journal=""), ValueError, "journal is '', which is the path of no file"),
    (run(WELCOME, [], journal="a\0b"), ValueError, "which is the path of no file"),
    (run(WELCOME, [], journal=MemoryJournal()), TypeError, "journal is of type MemoryJournal"),
    (run(WELCOME, [], except_journals="a"), TypeError, "except_journals is of type str; it must"),
    (run(WELCOME, [], except_journals=[3]), TypeError, "one of except_journals is of type int"),
    (send(None), TypeError, "message is of type NoneType; it must be a Message"),
    (send("ann@example.com"), TypeError, "message is of type str; it must be a Message"),
    (send(Recipient("ann@example.com")), TypeError, "message is of type Recipient"),
    (send(Message("welcome", "a@example.com")), TypeError, "message.mailing is of type str"),  # type: ignore[arg-type]
    (send(ANN, lane="fast"), ValueError, "lane is 'fast'; it must be one of transactional, bulk"),
    (send(ANN, lane=None), ValueError, "lane is None; it must be one of"),
    (send(ANN, lane=["bulk"]), ValueError, "lane is ['bulk']; it must be one of"),
    (send(ANN, deadline_s="30"), TypeError, "deadline_s is of type str; it must be a number of"),
    (send(ANN, deadline_s=True), TypeError, "deadline_s is of type bool; it must be a number of"),
    (send(ANN, deadline_s=math.nan), ValueError, "deadline_s is nan; it must be a finite number"),
    (send(ANN, deadline_s=math.inf), ValueError, "deadline_s is inf; it must be a finite number"),
    (send(ANN, deadline_s=10**400), ValueError, "it must be a finite number from 0"),
    (send(ANN, deadline_s=Decimal(1)), TypeError, "deadline_s is of type Decimal; it must be a"),
    (send(ANN, deadline_s=-1), ValueError, "deadline_s is -1; it must be a finite number from 0"),
]


@pytest.mark.parametrize(("use", "kind", "text"), WRONG, ids=[text for _, _, text in WRONG])
async def test_a_wrong_argument_is_named(
    engine: Engine, use: Use, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=re.escape(text)) as raised:
        await use(engine)
    assert isinstance(raised.value, MailsluiceError)


@pytest.mark.parametrize("deadline_s", [math.nan, "1"])
async def test_send_nowait_takes_no_other_arguments_than_send(
    engine: Engine, deadline_s: Any
) -> None:
    with pytest.raises(ArgumentError, match="deadline_s is"):
        await engine.send_nowait(ANN, deadline_s=deadline_s)


OPENED_WRONGLY: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"settings": {"rate": 5}}, TypeError, "settings is of type dict; it must be a Settings"),
    ({"journal": 3}, TypeError, "journal is of type int; it must be the path of a file"),
    ({"journal": ""}, ValueError, "which is the path of no file"),
    ({"day_s": math.nan}, ValueError, "day_s is nan; it must be a finite number above 0"),
    ({"day_s": 0}, ValueError, "day_s is 0; it must be a finite number above 0"),
    ({"day_s": "1"}, TypeError, "day_s is of type str; it must be a number of seconds"),
    ({"on_event": "print"}, TypeError, "on_event is of type str; it must be a function"),
]


@pytest.mark.parametrize(("named", "kind", "text"), OPENED_WRONGLY)
def test_a_wrong_argument_of_open_is_named(
    named: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=re.escape(text)) as raised:
        Engine.open(**named)
    assert isinstance(raised.value, ArgumentError)


class Transport:
    async def send_bulk_email(self, *_: object) -> Any: ...
    async def get_account(self) -> Any: ...


MADE_WRONGLY: list[tuple[dict[str, Any], str]] = [
    ({"transport": None}, "transport is of type NoneType; it must be a transport"),
    ({"journal": "a.journal"}, "journal is of type str; for a path use Engine.open(journal=...)"),
    ({"quota": 5}, "quota is of type int; it must be a QuotaSettings"),
    ({"delivery": {}}, "delivery is of type dict; it must be a DeliverySettings"),
    ({"wall": 5.0}, "wall is of type float; it must be a function"),
    ({"random": 7}, "random is of type int; it must be a Random"),
]


@pytest.mark.parametrize(("named", "text"), MADE_WRONGLY)
def test_a_wrong_part_is_named(named: dict[str, Any], text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=re.escape(text)):
        Engine(**{"transport": Transport(), **named})


async def test_a_wrong_change_is_named(engine: Engine) -> None:
    with pytest.raises(ArgumentTypeError, match="quota is of type NoneType"):
        engine.change(None, LaneSettings())  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match="lanes is of type dict"):
        engine.change(QuotaSettings(), {})  # type: ignore[arg-type]


async def _attended(engine: Engine) -> None:
    async with engine.attended():
        pass


async def _pause(engine: Engine) -> None:
    engine.pause()


async def _resume(engine: Engine) -> None:
    engine.resume()


async def _stop(engine: Engine) -> None:
    engine.stop()


async def _change(engine: Engine) -> None:
    engine.change(QuotaSettings(), LaneSettings())


async def _beside(engine: Engine) -> None:
    await engine.beside().run(WELCOME, ["a@example.com"])


USES: dict[str, Use] = {
    "run": run(WELCOME, ["a@example.com"]),
    "send": send(ANN),
    "send_nowait": lambda engine: engine.send_nowait(ANN),
    "release": lambda engine: engine.release(),
    "begun": lambda engine: engine.begun(),
    "attended": _attended,
    "enter": lambda engine: engine.__aenter__(),
    "beside": _beside,
    "pause": _pause,
    "resume": _resume,
    "stop": _stop,
    "change": _change,
}


@pytest.mark.parametrize("sent_before", [False, True])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_in_another_event_loop_it_is_an_error(
    engine: Engine,
    use: Use,
    sent_before: bool,  # noqa: FBT001
) -> None:
    if sent_before:
        await engine.send(ANN)
    found: list[BaseException] = []

    def other() -> None:
        try:
            asyncio.run(asyncio.wait_for(use(engine), PATIENCE_S))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is shown
            found.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert isinstance(found[0], UsageError), found
    assert "run_coroutine_threadsafe" in str(found[0])


async def test_a_thread_sends_by_the_loop_of_the_engine(engine: Engine) -> None:
    loop = asyncio.get_running_loop()

    def other() -> str:
        return asyncio.run_coroutine_threadsafe(engine.send(ANN), loop).result().message_id

    assert await asyncio.to_thread(other)


def test_an_engine_without_a_context_may_run_in_one_loop_after_the_other() -> None:
    engine = Engine(transport=Transport())
    for _ in range(2):
        with pytest.raises(AttributeError):  # it is no transport
            asyncio.run(engine.run(WELCOME, ["a@example.com"]))


class Recorder:
    """A transport that accepts everything, and keeps what it was given."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.defaults: list[str] = []

    async def send_bulk_email(
        self, body: bytes, endpoint_id: str | None, depart: Depart, /
    ) -> Answer:
        assert endpoint_id is None
        await depart()
        request = orjson.loads(body)
        self.defaults.append(request["DefaultContent"]["Template"]["TemplateData"])
        self.entries += request["BulkEmailEntries"]
        return Answer(
            results=tuple(EntryResult("SUCCESS", "id") for _ in request["BulkEmailEntries"])
        )

    async def get_account(self) -> Account:
        return Account(rate_per_s=1e6, daily_max=-1, daily_sent=0)


def data_of(entry: dict[str, Any]) -> Any:
    template = entry["ReplacementEmailContent"]["ReplacementTemplate"]
    return orjson.loads(template["ReplacementTemplateData"])


async def test_a_message_is_sent_as_it_was_when_it_was_given() -> None:
    recorder = Recorder()
    to, items, more = ["ann@example.com"], [{"n": 1}], {"a": [1]}
    data: dict[str, Any] = {"name": "Ann", "more": more, "items": items}
    tags, headers = {"kind": "a"}, {"X-Kind": "a"}
    async with Engine(transport=recorder) as engine:
        given = Message(WELCOME, to=to, data=data, tags=tags, headers=headers)
        waiting = asyncio.create_task(engine.send(given))
        to.append("eve@example.com")
        items.append({"n": 2})
        more["a"].append(2)
        data["name"] = tags["kind"] = headers["X-Kind"] = "b"
        await waiting
    (entry,) = recorder.entries
    assert entry["Destination"] == {"ToAddresses": ["ann@example.com"]}
    assert data_of(entry) == {"name": "Ann", "more": {"a": [1]}, "items": [{"n": 1}]}
    assert {"Name": "kind", "Value": "a"} in entry["ReplacementTags"]
    assert entry["ReplacementHeaders"] == [{"Name": "X-Kind", "Value": "a"}]


async def test_a_mailing_is_sent_as_it_was_when_it_was_made() -> None:
    recorder = Recorder()
    shop = {"city": "Lisbon"}
    mailing = Mailing(from_address="a@example.com", template="t", data={"shop": shop})
    shop["city"] = "Porto"
    async with Engine(transport=recorder) as engine:
        await engine.send(Message(mailing, to="ann@example.com"))
    assert orjson.loads(recorder.defaults[0]) == {"shop": {"city": "Lisbon"}}


async def test_a_generator_may_fill_one_dictionary_again_and_again() -> None:
    def recipients() -> Iterator[Recipient]:
        data: dict[str, Any] = {"items": []}
        for n in range(20):
            data["n"] = n
            data["items"].append(n)
            yield Recipient(f"u{n}@example.com", data=data)

    recorder = Recorder()
    await Engine(transport=recorder).run(WELCOME, recipients())
    found = sorted((data["n"], len(data["items"])) for data in map(data_of, recorder.entries))
    assert found == [(n, n + 1) for n in range(20)]
