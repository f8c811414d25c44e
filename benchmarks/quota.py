"""How much of the account's quota `mailsluice` uses, in real time, and how little is throttled.

    python -m benchmarks.quota [CASE ...] [--plot FILE]     default: all cases

Each case runs for a minute (but for the daily quota, which takes a quarter of an hour beside the
others) against an emulator with a strict bucket in a process of its own: a list, an SQLite journal
and real HTTP. Exits with 1 if a goal is missed. `--plot` draws rate against quota over time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from benchmarks import quota_plot
from benchmarks.lists import write_list
from benchmarks.quota_cases import BATCH_MAX, Case, Measured, Sample, Tenant, cases
from mailsluice.emulator import (
    AccountSettings,
    EmulatorOptions,
    EmulatorProcess,
    Latency,
    emulator_process,
)
from mailsluice.journal import Settlement
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.ses.client import Client
from mailsluice.ses.statuses import CALL_RULES, ENTRY_RULES, Action

RUN = Path(__file__).with_name("quota_run.py")

POLL_S = 0.02
"""Until the first call has been accepted."""

DRAIN_S_MAX = 30.0
"""A run that was told to stop has ended by then."""

OTHER = "other"
"""The other tenant's template, by which its mails are told apart."""

THROTTLED = {
    status
    for status, rule in {**ENTRY_RULES, **CALL_RULES}.items()
    if rule.action is Action.THROTTLE
}


class Control:
    """The emulator's control interface."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/_emulator/"

    async def read(self, path: str) -> Any:
        """Read one of the control plane's documents."""
        async with self._session.get(self._url + path) as answer:
            return orjson.loads(await answer.read())

    async def ledger(self) -> list[dict[str, Any]]:
        """Every accepted mail."""
        async with self._session.get(f"{self._url}ledger") as answer:
            return [orjson.loads(line) async for line in answer.content]

    async def change(self, settings: dict[str, Any]) -> None:
        """Other settings of the account."""
        await self._session.patch(f"{self._url}account", data=orjson.dumps(settings))

    async def faults(self, *calls: dict[str, Any]) -> None:
        """Other faults."""
        await self._session.put(f"{self._url}faults", data=orjson.dumps({"call": calls}))


class Run:
    """One case against one emulator."""

    def __init__(
        self, case: Case, folder: Path, process: EmulatorProcess, control: Control
    ) -> None:
        self._case = case
        self._folder = folder
        self._process = process
        self._control = control
        self._child: asyncio.subprocess.Process | None = None
        self._clock = asyncio.get_running_loop().time
        self._begun_at = 0.0

    async def measure(self) -> Measured:
        """Send, let happen what is to happen, and gather what became of it."""
        case = self._case
        write_list(self._folder / "list.csv", recipients_of(case))
        await self._start()
        while not (await self._control.read("statistics"))["account"]["accepted"]:  # noqa: ASYNC110  # it is another process
            await asyncio.sleep(POLL_S)
        self._begun_at = self._clock()
        async with asyncio.TaskGroup() as tasks:
            for at, change in case.changes:
                tasks.create_task(self._at(at, self._control.change(change)))
            if case.slow:
                tasks.create_task(self._slow(*case.slow))
            if case.tenant:
                tasks.create_task(self._other_tenant(case.tenant))
            tasks.create_task(self._lives())
        return await self._gathered()

    async def _start(self) -> None:
        self._child = await asyncio.create_subprocess_exec(
            *(sys.executable, RUN, self._folder, str(self._case.day_s)),
            env=os.environ | self._process.environment,
        )

    async def _lives(self) -> None:
        """Kill it and start it again, and stop it in the end, unless it is done before."""
        for at in self._case.kill_times:
            await self._until(at)
            assert self._child is not None
            self._child.kill()
            await self._child.wait()
            await self._start()
        assert self._child is not None
        try:
            async with asyncio.timeout(self._case.seconds - (self._clock() - self._begun_at)):
                await self._child.wait()
        except TimeoutError:
            self._child.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DRAIN_S_MAX):
                await self._child.wait()

    async def _until(self, at: float) -> None:
        await asyncio.sleep(self._begun_at + at - self._clock())

    async def _at(self, at: float, happens: Any) -> None:
        await self._until(at)
        await happens

    async def _slow(self, begin: float, end: float, longer_s: float) -> None:
        await self._until(begin)
        await self._control.faults(
            {"fault": "late", "delay_s": longer_s, "operation": "SendBulkEmail"}
        )
        await self._until(end)
        await self._control.faults()

    async def _other_tenant(self, tenant: Tenant) -> None:
        """Call at a steady pace, whatever the answers are."""
        entry = {"Destination": {"ToAddresses": ["x@example.com"]}}
        request = {
            "FromEmailAddress": "b@example.com",
            "DefaultContent": {"Template": {"TemplateName": OTHER}},
            "BulkEmailEntries": [entry] * round(tenant.rate_per_s * tenant.every_s),
        }
        body = orjson.dumps(request)
        environment = self._process.environment
        os.environ.update(environment)
        async with (
            Client(
                region=None,
                profile=None,
                endpoint_url=self._process.url,
                in_flight_max=BATCH_MAX,
                timeout_s=30,
            ) as client,
            asyncio.TaskGroup() as calls,
        ):
            at = tenant.begins_s
            while at < tenant.ends_s:
                await self._until(at)
                calls.create_task(client.send_bulk_email(body, None))
                at += tenant.every_s

    async def _gathered(self) -> Measured:
        case = self._case
        account = (await self._control.read("statistics"))["account"]
        ledger = await self._control.ledger()
        zero = ledger[0]["at"]
        mine = Counter[float]()
        others = Counter[float]()
        for mail in ledger:
            (others if mail["template"] == OTHER else mine)[mail["at"] - zero] += 1
        return Measured(
            case=case,
            accepted=samples(mine),
            throttled=samples(throttled_in(self._folder / "run.journal", zero)),
            others=samples(others),
            peak=account["submitted_peak"],
            daily_refused=account["daily_refused"],
            left_over=(case.recipients or 0) and case.recipients - len(ledger),
        )


def samples(counter: Counter[float]) -> list[Sample]:
    """In the order of time."""
    return [Sample(at, recipients) for at, recipients in sorted(counter.items())]


def throttled_in(path: Path, zero: float) -> Counter[float]:
    """Throttled recipients by second, as the run's journal has them."""
    found = Counter[float]()
    with closing(SqliteJournal.read(path)) as journal:
        for record in journal.replay(details=True):
            if isinstance(record, Settlement):
                found[record.at - zero] += sum(status in THROTTLED for status in record.statuses)
    return +found


def recipients_of(case: Case) -> int:
    """Rows of the list: more than can be sent, unless the case says."""
    return case.recipients or round(case.seconds * case.account["rate_per_s"] * 1.2)


async def measure(case: Case) -> Measured:
    """One case in a folder and with an emulator of its own."""
    options = EmulatorOptions(
        account=AccountSettings(**case.account),
        latency=Latency(low_s=case.latency_s[0], high_s=case.latency_s[1]),
    )
    with tempfile.TemporaryDirectory(prefix="mailsluice-quota-") as name:
        async with emulator_process(options) as process, aiohttp.ClientSession() as session:
            control = Control(session, process.url)
            return await Run(case, Path(name), process, control).measure()


async def main(wanted: list[str], plot: Path | None) -> int:
    """Measure, print, draw; 1 where a goal was missed."""
    chosen = [case for case in cases() if not wanted or case.name in wanted]
    beside = [asyncio.create_task(measure(case)) for case in chosen if case.name == "daily"]
    came = []
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| case | figure | goal | measured | |\n|---|---|---|---|---|")
    missed = 0
    for case in chosen:
        measured = await (beside[0] if case.name == "daily" else measure(case))
        came.append(measured)
        for goal in case.goals:
            value = goal.of(measured)
            reached = goal.reached(value)
            missed += not reached
            row = (case.title, goal.name, goal.wanted, goal.shown(value))
            print(f"| {' | '.join(row)} | {'' if reached else 'missed'} |", flush=True)
    if plot:
        quota_plot.draw(came, plot)
    return 1 if missed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.cases, given.plot)))
