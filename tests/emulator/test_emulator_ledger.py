"""The ledger, in memory and in a file."""

from __future__ import annotations

import json
import os
import signal
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from mailsluice.emulator import EmulatorOptions, Ledger, emulator_process
from mailsluice.emulator.submission import Entry
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]


def entry(address: str, tags: dict[str, str] | None = None) -> Entry:
    return Entry([address], [], [], tags or {}, 1)


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.ndjson" if request.param == "file" else None)


def test_both_kinds_tell_the_same(tmp_path: Path) -> None:
    both = Ledger(), Ledger(tmp_path / "ledger.ndjson")
    told = []
    for each in both:
        each.record([entry("a@x.example", {"t": "1"}), entry("b@x.example")], "welcome", 1, 1.5)
        each.record([Entry(["a@x.example"], ["c@x.example"], ["d@x.example"], {}, 3)], "", 2, 2.5)
        told.append([accepted._replace(message_id="") for accepted in each.entries()])
        assert [json.loads(line) for line in b"".join(each.lines()).splitlines()] == [
            {**accepted._asdict(), **{name: list(getattr(accepted, name)) for name in KINDS}}
            for accepted in each.entries()
        ]
        each.close()
    assert told[0] == told[1]


KINDS = ("to", "cc", "bcc")


def test_queries_count_by_address_and_tag(ledger: Ledger) -> None:
    ledger.record([entry("a@x.example", {"mailsluice-id": "r-1"})], "t", 1, 1.0)
    ledger.record([entry("a@x.example", {"mailsluice-id": "r-1"})], "t", 2, 1.0)
    ledger.record([Entry([], [], ["b@x.example"], {"mailsluice-id": "r-2"}, 1)], "t", 3, 1.0)
    ledger.record([entry("c@x.example")], "t", 4, 1.0)
    assert len(ledger) == 4
    assert ledger.by_address() == {"a@x.example": 2, "b@x.example": 1, "c@x.example": 1}
    assert ledger.by_tag() == {"r-1": 2, "r-2": 1}
    assert ledger.duplicates() == {"r-1": 2}
    assert [accepted.call for accepted in ledger.to("a@x.example")] == [1, 2]
    ledger.close()


def test_message_ids_given_are_those_that_are_kept(ledger: Ledger) -> None:
    given = ledger.record([entry("a@x.example")] * 3, "t", 1, 1e9)
    given += ledger.record([entry("b@x.example")] * 2, "t", 2, 1e9)
    assert [accepted.message_id for accepted in ledger.entries()] == given
    assert len(set(given)) == 5
    ledger.close()


def test_a_file_is_appended_to_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "ledger.ndjson"
    for _ in range(2):
        ledger = Ledger(file)
        ledger.record([entry("a@x.example")], "t", 1, 1.0)
        ledger.close()
    with file.open("ab") as open_file:
        open_file.write(b'{"message_id": "01')
    ledger = Ledger(file)
    assert len(list(ledger.entries())) == 2
    ledger.close()


def test_a_file_that_cannot_be_opened_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name a file in a folder that exists"):
        Ledger(tmp_path / "none" / "ledger.ndjson")


def test_an_entry_in_memory_takes_less_than_200_bytes() -> None:
    tags = {"campaign": "november", "mailsluice-id": "a1b2c3d4-123456"}
    entries = [entry(f"person.{n}@customers.example.org", tags) for n in range(50)]
    ledger = Ledger()
    tracemalloc.start()
    for call in range(400):
        ledger.record(entries, "welcome", call, 1.0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / len(ledger) < 200


@pytest.mark.process
async def test_what_was_answered_is_in_the_file_of_a_killed_emulator(
    tmp_path: Path, connect: Callable[..., Awaitable[Any]], start: Start
) -> None:
    pair = await start()
    file = tmp_path / "ledger.ndjson"
    options = EmulatorOptions(account=pair.emulator.options.account, ledger=file)
    async with emulator_process(options) as child:
        client = await connect(pair.emulator, endpoint_url=child.url)
        results = []
        for _ in range(5):
            results += await pair._replace(client=client).send("a@example.com", "b@example.com")
        os.kill(child.pid, signal.SIGKILL)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["message_id"] for line in lines] == [each["MessageId"] for each in results]
    assert [line["call"] for line in lines] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
