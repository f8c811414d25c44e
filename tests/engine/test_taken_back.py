"""A run that is stopped waits for no call that has not left: it is taken back as not sent."""

import asyncio
import datetime as dt
from pathlib import Path
from random import Random

import orjson
import pytest
from anyio import to_thread

from mailsluice import Counts, DeliverySettings, Engine, Mailing, Settings
from mailsluice.emulator import Emulator
from mailsluice.model import Account, Answer, EntryResult
from mailsluice.ses import Depart, at_once
from tests.sim.virtual import VirtualLoop
from tests.support.peer import Exchange, listening

MAILING = Mailing(from_address="a@example.com", template="t")
PATIENCE_S = 30.0
"""Credentials alone may take 40 s."""

pytestmark = pytest.mark.ses_emulator(
    account={"rate_per_s": 5000, "daily_max": -1},
    credentials={"access_key_id": "AKID", "secret_access_key": "secret", "session_token": "token"},
)


class Container:
    """Credentials that end at once; after the first ones, no answer."""

    def __init__(self, asked_max: int) -> None:
        self.asked = 0
        self.asked_max = asked_max

    def __call__(self, exchange: Exchange) -> None:
        if not exchange.read_head():
            return
        self.asked += 1
        exchange.peer.saw()
        if self.asked > self.asked_max:
            exchange.hang()
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
        found = {
            "AccessKeyId": "AKID",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": ends.isoformat(),
        }
        exchange.answer(200, orjson.dumps(found))


async def test_a_stop_takes_back_what_waits_for_credentials(
    ses_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(delivery=DeliverySettings(timeout_s=30))
    container = Container(asked_max=3)  # GetAccount's: found, refreshed, and to sign with
    with listening(container) as peer:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        uri = f"http://127.0.0.1:{peer.port}/"
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri)
        async with (
            asyncio.timeout(PATIENCE_S),
            Engine.open(settings, journal=tmp_path / "run.journal") as engine,
        ):
            recipients = [f"user{n}@example.com" for n in range(200)]
            run = asyncio.create_task(engine.run(MAILING, recipients))
            assert await to_thread.run_sync(peer.wait_for, 4, PATIENCE_S)
            engine.stop()
            report = await run
    counts = report.counts
    assert (report.state, counts.in_doubt, counts.sent, counts.pending) == ("stopped", 0, 0, 200)
    assert len(ses_emulator.ledger) == 0


class Noting:
    """A transport that notes what it writes and when, and answers a second later.

    Its connections stand each full two seconds: calls come to wait for their turns.
    """

    def __init__(self) -> None:
        self.written = 0
        self.departures: list[float] = []

    async def send_bulk_email(
        self, body: bytes, _endpoint_id: str | None, depart: Depart = at_once, /
    ) -> Answer:
        await asyncio.sleep(2 - asyncio.get_running_loop().time() % 2)
        await depart()
        entries = len(orjson.loads(body)["BulkEmailEntries"])
        self.written += entries
        self.departures.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        return Answer(results=(EntryResult("SUCCESS", "id"),) * entries)

    async def get_account(self) -> Account:
        return Account(rate_per_s=10, daily_max=-1, daily_sent=0)


def stopped_at(moment: float, seed: int) -> tuple[Noting, Counts]:
    """A run on virtual time; a busy machine learns at `moment` of a stop and of all turns due."""
    transport, loop = Noting(), VirtualLoop(seed)

    async def main() -> Counts:
        engine = Engine(transport=transport, random=Random(seed))
        loop.call_at(moment - 0.02, loop.stall_until, moment)
        loop.call_at(moment - 0.01, engine.stop)
        return (await engine.run(MAILING, [f"user{n}@example.com" for n in range(90)])).counts

    try:
        return transport, loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_stop_at_the_moment_of_a_departure_leaves_nothing_written_and_unrecorded(
    seed: int,
) -> None:
    whole, counts = stopped_at(1_000, seed)
    assert counts.sent == whole.written == 90
    for moment in whole.departures[2:6]:
        transport, counts = stopped_at(moment, seed)
        assert counts.sent < 90
        assert (counts.sent, counts.in_doubt) == (transport.written, 0)


class Losing:
    """A transport that loses each connection after its turn, and asks for another turn."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self.asks_again = asyncio.Event()

    async def send_bulk_email(
        self, _body: bytes, _endpoint_id: str | None, depart: Depart = at_once, /
    ) -> Answer:
        await depart()
        self.lost.set()
        await self.asks_again.wait()
        await depart()
        raise AssertionError("it had a turn after the stop")

    async def get_account(self) -> Account:
        return Account(rate_per_s=10, daily_max=-1, daily_sent=0)


def test_a_call_that_lost_its_connection_asks_in_vain_for_a_turn_after_a_stop() -> None:
    loop = VirtualLoop(0)

    async def main() -> Counts:
        transport = Losing()
        engine = Engine(transport=transport)
        run = asyncio.create_task(engine.run(MAILING, ["a@example.com"]))
        await transport.lost.wait()
        engine.stop()
        for _ in range(10):  # the stop is seen: calls that have not left are taken back
            await asyncio.sleep(0)
        transport.asks_again.set()
        return (await run).counts

    try:
        counts = loop.run_until_complete(main())
    finally:
        loop.close()
    assert (counts.pending, counts.in_doubt, counts.sent) == (1, 0, 0)
