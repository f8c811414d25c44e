"""Rate and daily quota as a client meets them, each in both ways of refusing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from mailsluice.emulator import AccountSettings, Latency
from tests.support.waiting import NEVER_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]

FIVE = [f"u{n}@example.com" for n in range(5)]


async def refusal(pair: Pair) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        await pair.send(*FIVE)
    answer = caught.value.response
    return (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        answer["Error"]["Code"],
        answer["Error"]["Message"],
    )


async def test_over_the_rate_the_whole_call_is_refused_with_429(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=5))
    assert await pair.statuses(*FIVE) == ["SUCCESS"] * 5
    assert await refusal(pair) == (
        429,
        "TooManyRequestsException",
        "Maximum sending rate exceeded.",
    )
    found = pair.emulator.statistics()
    assert (found.account.submitted, found.account.accepted, found.account.throttled) == (10, 5, 5)
    assert (found.ledger, found.errors) == (5, {"TooManyRequestsException": 1})


async def test_over_the_rate_single_entries_are_refused_where_so_chosen(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=3, throttles="entry"))
    results = await pair.send(*FIVE)
    assert [each["Status"] for each in results] == ["SUCCESS"] * 3 + ["ACCOUNT_THROTTLED"] * 2
    assert [entry.to[0] for entry in pair.emulator.ledger.entries()] == FIVE[:3]
    assert pair.emulator.statistics().failures == {"ACCOUNT_THROTTLED": 2}


async def test_debt_must_be_repaid_before_the_next_call(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=1, model="debt"))
    assert await pair.statuses(*FIVE) == ["SUCCESS"] * 5
    assert (await refusal(pair))[1] == "TooManyRequestsException"


async def test_over_the_day_single_entries_are_refused(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=100, daily_max=3))
    over = "ACCOUNT_DAILY_QUOTA_EXCEEDED"
    assert await pair.statuses(*FIVE) == ["SUCCESS"] * 3 + [over] * 2
    quota = (await pair.client.get_account())["SendQuota"]
    assert (quota["SentLast24Hours"], quota["Max24HourSend"]) == (3, 3)


async def test_over_the_day_the_whole_call_is_refused_where_so_chosen(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=100, daily_max=3, daily_refuses="call"))
    assert await refusal(pair) == (
        429,
        "TooManyRequestsException",
        "Daily message quota exceeded.",
    )
    assert len(pair.emulator.ledger) == 0


async def test_limits_may_change_while_it_runs(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=1))
    assert (await refusal(pair))[0] == 429
    pair.emulator.change_account(rate_per_s=100, burst_s=1)
    assert (await pair.client.get_account())["SendQuota"]["MaxSendRate"] == 100


async def test_get_account_is_throttled_by_calls(start: Start) -> None:
    pair = await start(account=AccountSettings(get_account_per_s=0.01))
    await pair.client.get_account()
    with pytest.raises(pair.client.exceptions.TooManyRequestsException, match="Rate exceeded"):
        await pair.client.get_account()


async def test_bulk_calls_may_have_an_api_rate_of_their_own(start: Start) -> None:
    pair = await start(account=AccountSettings(rate_per_s=1000, calls_per_s=0.01))
    assert await pair.statuses(*FIVE) == ["SUCCESS"] * 5
    assert await refusal(pair) == (429, "TooManyRequestsException", "Rate exceeded")


async def test_latency_delays_each_answer(start: Start) -> None:
    pair = await start(latency=Latency(low_s=0.2, high_s=0.25))
    began = time.perf_counter()
    await pair.send("a@example.com")
    assert time.perf_counter() - began >= 0.2


async def test_who_waits_for_an_answer_keeps_nobody_else_waiting(start: Start) -> None:
    pair = await start(latency=Latency(low_s=NEVER_S, high_s=NEVER_S))
    calls = [asyncio.create_task(pair.send("a@example.com")) for _ in range(10)]
    while len(pair.emulator.ledger) < 10:
        await asyncio.sleep(0.01)
    assert not any(call.done() for call in calls)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


@pytest.mark.parametrize(
    ("text", "low_s", "high_s"), [("0", 0, 0), ("0.05", 0.05, 0.05), (".1-2", 0.1, 2)]
)
def test_latency_is_written_as_seconds_or_a_span(text: str, low_s: float, high_s: float) -> None:
    assert Latency.parse(text) == Latency(low_s=low_s, high_s=high_s)


@pytest.mark.parametrize("text", ["", "fast", "-1", "2-1", "1-", "nan", "1-2-3"])
def test_a_latency_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="latency"):
        Latency.parse(text)
