"""Faults: each as an SDK meets it, and the script they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from mailsluice.emulator import CallFault, EntryFault, Faults, Script, load_faults
from mailsluice.emulator.exchange import EXCEPTIONS, STATUSES
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]

THREE = ["a@example.com", "b@example.com", "c@example.com"]


def script(*rules: EntryFault | CallFault) -> Script:
    faults = Faults()
    faults.add(*rules)
    return faults.script


async def test_any_status_for_any_address(start: Start) -> None:
    pair = await start()
    for status in (*STATUSES, "A_STATUS_NOBODY_KNOWS"):
        pair.emulator.faults.replace(script(EntryFault(status=status, address="B@*", error="why")))
        results = await pair.send(*THREE)
        assert results[1] == {"Status": status, "Error": "why"}
        assert [results[n]["Status"] for n in (0, 2)] == ["SUCCESS", "SUCCESS"]
    times = len(STATUSES) + 1
    assert pair.emulator.ledger.by_address() == {THREE[0]: times, THREE[2]: times}


async def test_the_first_attempts_of_each_address_fail_and_then_no_more(start: Start) -> None:
    fault = EntryFault(status="TRANSIENT_FAILURE", address="[ab]@*", times=2)
    pair = await start(faults=script(fault))
    seen = [await pair.statuses("Ann <a@example.com>", "b@example.com") for _ in range(3)]
    assert seen == [["TRANSIENT_FAILURE"] * 2] * 2 + [["SUCCESS"] * 2]


async def test_a_rate_with_attempts_chooses_the_same_addresses_in_any_order(start: Start) -> None:
    fault = EntryFault(status="FAILED", rate=0.3, times=1)
    addresses = [f"u{n}@example.com" for n in range(50)]
    chosen = []
    for order in (addresses, addresses[::-1]):
        pair = await start(faults=script(fault))
        statuses = dict(zip(order, await pair.statuses(*order), strict=True))
        chosen.append({address for address in order if statuses[address] == "FAILED"})
        assert set(await pair.statuses(*order)) == {"SUCCESS"}
    assert chosen[0] == chosen[1]
    assert 5 <= len(chosen[0]) <= 25


async def test_any_exception_under_its_http_status(start: Start) -> None:
    pair = await start()
    for code, http_status in EXCEPTIONS.items():
        fault = CallFault(fault="error", code=code, message="so it is", times=1)
        pair.emulator.faults.replace(script(fault))
        with pytest.raises(ClientError) as caught:
            await pair.send(*THREE)
        assert caught.value.response["Error"] == {"Code": code, "Message": "so it is"}
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == http_status
        assert await pair.statuses(*THREE) == ["SUCCESS"] * 3
    assert len(pair.emulator.ledger) == 3 * len(EXCEPTIONS)


@pytest.mark.parametrize("http_status", [500, 502, 503])
@pytest.mark.parametrize("accepted", [False, True])
async def test_a_bare_5xx_with_or_without_acceptance(
    start: Start, http_status: int, *, accepted: bool
) -> None:
    fault = CallFault(fault="error", http_status=http_status, accepted=accepted)
    pair = await start(faults=script(fault))
    with pytest.raises(ClientError) as caught:
        await pair.send(*THREE)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == http_status
    assert len(pair.emulator.ledger) == (3 if accepted else 0)


@pytest.mark.parametrize(
    ("kind", "error", "accepted"),
    [
        ("reset_before", EndpointConnectionError, 0),
        ("reset_after", EndpointConnectionError, 3),
        ("lost", ConnectionClosedError, 3),
        ("cut", BotoCoreError, 3),
    ],
)
async def test_a_broken_connection_before_or_after_acceptance(
    start: Start, kind: Any, error: type[Exception], accepted: int
) -> None:
    pair = await start(faults=script(CallFault(fault=kind, nth=1)))
    with pytest.raises(error):
        await pair.send(*THREE)
    assert len(pair.emulator.ledger) == accepted
    assert await pair.statuses(*THREE) == ["SUCCESS"] * 3
    assert pair.emulator.statistics().faults == {kind: 1}


async def test_broken_json_in_a_200_leaves_the_sdk_without_results(start: Start) -> None:
    pair = await start(faults=script(CallFault(fault="broken")))
    with pytest.raises(KeyError):
        await pair.send(*THREE)
    assert len(pair.emulator.ledger) == 3


async def test_results_one_short(start: Start) -> None:
    pair = await start(faults=script(CallFault(fault="short")))
    assert await pair.statuses(*THREE) == ["SUCCESS"] * 2
    assert len(pair.emulator.ledger) == 3


async def test_a_late_answer_is_accepted_at_once_and_holds_up_nobody(
    start: Start, connect: Callable[..., Awaitable[Any]]
) -> None:
    pair = await start(faults=script(CallFault(fault="late", delay_s=60, address=THREE[1])))
    hasty = pair._replace(client=await connect(pair.emulator, read_timeout_s=0.2))
    with pytest.raises(ReadTimeoutError):
        await hasty.send(*THREE)
    assert len(pair.emulator.ledger) == 3
    assert await pair.statuses(THREE[0]) == ["SUCCESS"]


async def test_a_late_answer_comes_in_the_end(start: Start) -> None:
    pair = await start(faults=script(CallFault(fault="late", delay_s=0.05)))
    assert await pair.statuses(*THREE) == ["SUCCESS"] * 3


async def test_only_calls_with_the_address_are_struck(start: Start) -> None:
    fault = CallFault(fault="error", code="MessageRejected", address="b@example.com")
    pair = await start(faults=script(fault))
    assert await pair.statuses(THREE[0]) == ["SUCCESS"]
    with pytest.raises(pair.client.exceptions.MessageRejected):
        await pair.send(*THREE)


async def test_only_the_nth_calls_are_struck(start: Start) -> None:
    pair = await start(faults=script(CallFault(fault="error", code="X", nth=(2, 4))))
    outcome = []
    for _ in range(5):
        try:
            outcome += await pair.statuses(THREE[0])
        except ClientError as error:
            outcome.append(error.response["Error"]["Code"])
    assert outcome == ["SUCCESS", "X", "SUCCESS", "X", "SUCCESS"]


async def test_get_account_has_faults_of_its_own(start: Start) -> None:
    fault = CallFault(
        fault="error", code="TooManyRequestsException", operation="GetAccount", times=1
    )
    pair = await start(faults=script(fault))
    assert await pair.statuses(THREE[0]) == ["SUCCESS"]
    with pytest.raises(pair.client.exceptions.TooManyRequestsException):
        await pair.client.get_account()
    assert (await pair.client.get_account())["SendingEnabled"]


async def test_a_refused_call_does_not_use_up_a_fault_that_follows_acceptance(
    start: Start,
) -> None:
    pair = await start(faults=script(CallFault(fault="short", times=1)))
    pair.emulator.change_account(sending_enabled=False)
    assert await pair.statuses(*THREE) == ["ACCOUNT_SENDING_PAUSED"] * 3
    pair.emulator.change_account(sending_enabled=True)
    assert await pair.statuses(*THREE) == ["SUCCESS"] * 2


def test_a_seed_gives_the_same_calls_every_time() -> None:
    def struck(seed: int) -> list[int]:
        faults = Faults(Script(seed=seed, call=(CallFault(fault="lost", rate=0.2),)))
        return [
            number
            for number in range(1000)
            if faults.strike("SendBulkEmail", number, (), before=False)
        ]

    assert struck(1) == struck(1)
    assert struck(1) != struck(2)
    assert 150 < len(struck(1)) < 250


TOML = """
seed = 7
[[entry]]
address = "*@slow.example.com"
status = "TRANSIENT_FAILURE"
rate = 0.01
times = 2
[[call]]
fault = "late"
delay_s = 2
nth = [1, 3]
"""


def test_a_script_is_read_from_toml_or_json(tmp_path: Path) -> None:
    expected = Script(
        seed=7,
        entry=(
            EntryFault(
                address="*@slow.example.com", status="TRANSIENT_FAILURE", rate=0.01, times=2
            ),
        ),
        call=(CallFault(fault="late", delay_s=2, nth=(1, 3)),),
    )
    file = tmp_path / "faults.toml"
    file.write_text(TOML)
    assert load_faults(file) == expected
    file = tmp_path / "faults.json"
    rules = {
        "seed": 7,
        "entry": [
            {
                "address": "*@slow.example.com",
                "status": "TRANSIENT_FAILURE",
                "rate": 0.01,
                "times": 2,
            }
        ],
        "call": [{"fault": "late", "delay_s": 2, "nth": [1, 3]}],
    }
    file.write_text(json.dumps(rules))
    assert load_faults(file) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[entry]]\nstatus='FAILED'\nrate=2", r"entry rule 1, field 'rate': it must be 1 or less"),
        ("[[entry]]\nrate=1", r"entry rule 1, field 'status': is missing; add it"),
        ("[[entry]]\nstatus='SUCCESS'", r"entry rule 1: .*name one of the statuses"),
        ("[[entry]]\nstatus='FAILED'\ntimes=0", r"'times': it must be 1 or more"),
        (
            "[[call]]\nfault='lost'\n[[call]]\nfault='vanish'",
            r"call rule 2, field 'fault': it must be .*, .reset_before., .*\(it is 'vanish'\)",
        ),
        ("[[call]]\nfault='lost'\nwhen=1", r"call rule 1, field 'when': is not known; remove it"),
        ("[[call]]\nfault='late'", r"call rule 1: delay_s belongs to .* which needs it"),
        ("[[call]]\nfault='lost'\ncode='X'", r"call rule 1: code.* belong to .*; remove them"),
        (
            "[[call]]\nfault='lost'\noperation='GetAccount'\naddress='a@b.c'",
            r"call rule 1: GetAccount knows .*; remove them",
        ),
        ("[[calls]]\nfault='lost'", r"the script, field 'calls': is not known"),
        ("seed='x'", r"field 'seed': it must be a whole number"),
        ("[[call]", "is not valid toml"),
    ],
)
def test_a_bad_script_is_refused_by_file_rule_field_and_remedy(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_faults(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_script_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_faults(tmp_path / "none.toml")
