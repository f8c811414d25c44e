"""Proof 11: no body makes the parser fail, no event is lost between queue and disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path
from random import Random

from mailsluice.feedback import fate
from mailsluice.feedback.records import Kind, SesEvent, Tag, parse
from mailsluice.feedback.store import FeedbackStore
from tests.feedback import mutated
from tests.prove import events
from tests.prove.figures import Figure, Proved, Size, at_least, exactly, told

BODIES = {"short": 20_000, "full": 1_000_000}
BODIES_AT_ONCE = 10_000

EVENTS = {"short": 10_000, "full": 100_000}
KILLS = {"short": 4, "full": 20}
"""Every other one between store and delete, the rest wherever it hits."""

BATCH_MAX = 100
PATIENCE_S = 60.0


# --- bodies --------------------------------------------------------------------------------------


def read(seed: int) -> tuple[Counter[str], list[str]]:
    """What became of some mutated bodies, and tracebacks."""
    found: Counter[str] = Counter()
    crashes = []
    for body in mutated.bodies(Random(seed), BODIES_AT_ONCE):
        try:
            kinds = {type(each).__name__ for each in parse(body)}
        except Exception:  # noqa: BLE001  # whatever a broken parser raises
            crashes.append(f"seed {seed}: {traceback.format_exc(limit=-1)} {body[:200]!r}")
            kinds = {"crash"}
        # One that comes to nothing would never be deleted, and come again for ever.
        found.update(kinds or {"nothing"})
    return found, crashes


def _bodies(size: Size) -> tuple[list[Figure], list[str]]:
    seeds = range(BODIES[size] // BODIES_AT_ONCE)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(read, seeds))
    found = sum((part for part, _ in parts), Counter[str]())
    return [
        at_least("mutated bodies", BODIES[size], len(seeds) * BODIES_AT_ONCE),
        exactly("  that crash the parser", 0, found["crash"]),
        exactly("  that come to nothing, and so for ever", 0, found["nothing"]),
        told(
            "  with an event, with something unreadable",
            f"{found['SesEvent']:,}, {found['Unreadable']:,}",
        ),
    ], list(chain.from_iterable(crashes for _, crashes in parts))[:5]


# --- kills ---------------------------------------------------------------------------------------


def event(number: int) -> SesEvent:
    """Two for each row: a Send, and much later what became of it."""
    row = number // 2 + 1
    late = (Kind.DELIVERY, Kind.RENDERING_FAILURE, Kind.REJECT)[row % 3]
    kind = late if number % 2 else Kind.SEND
    return SesEvent(kind, Tag("run", row), f"id-{row}", 1.0e9 + row, 1.0e9 + row)


def wanted(number: int) -> int:
    """The bit that this event must leave."""
    return fate.of(event(number)).bits


def consume(path: Path, deleted: Path, events: int, seed: int, die_in: int) -> None:
    """Take events from a queue that forgets those below the number in `deleted`.

    `die_in`: the batch after whose storing the process kills itself, before it deletes.
    """
    random = Random(seed)
    store = FeedbackStore.open(path)
    begin = int(deleted.read_text() or 0)
    batch = 0
    while begin < events:
        end = min(events, begin + random.randint(1, BATCH_MAX))
        store.record([event(number) for number in range(begin, end)], 1.0e9)
        batch += 1
        if batch == die_in:
            os.kill(os.getpid(), signal.SIGKILL)
        _write(deleted, end)
        begin = end
    store.close()


def _write(deleted: Path, end: int) -> None:
    """A write of some bytes in place, which no kill cuts in two."""
    descriptor = os.open(deleted, os.O_WRONLY)
    os.pwrite(descriptor, b"%-12d" % end, 0)
    os.close(descriptor)


def _kills(size: Size) -> list[Figure]:
    events, kills = EVENTS[size], 0
    with tempfile.TemporaryDirectory(prefix="mailsluice-feedback-") as name:
        path, deleted = Path(name) / "feedback.db", Path(name) / "deleted"
        deleted.write_text("")
        random = Random(11)
        for turn in range(KILLS[size]):
            target = events * (turn + 1) // (KILLS[size] + 1)
            itself = turn % 2 == 0
            child = _child(path, deleted, events, turn, random.randint(1, 20) if itself else 0)
            if not itself:
                _wait_for(deleted, target + random.randrange(BATCH_MAX), child)
                child.kill()
            kills += child.wait() == -signal.SIGKILL
        ended = _child(path, deleted, events, KILLS[size], 0).wait()
        store = FeedbackStore.open(path)
        fates = store.fates("run")
        store.close()
    lost = sum(
        not fates.get(number // 2 + 1, {}).get(f"id-{number // 2 + 1}", fate.Fate(0, 0, 0)).bits
        & wanted(number)
        for number in range(events)
    )
    return [
        exactly("kills of what stores events", KILLS[size], kills),
        exactly("  events that were deleted and not stored", 0, lost),
        exactly("  exit code of the last process", 0, ended),
    ]


def _child(path: Path, deleted: Path, *numbers: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.prove.feedback", str(path), str(deleted)]
    return subprocess.Popen([*command, *map(str, numbers)])


def _wait_for(deleted: Path, number: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while int(deleted.read_text() or 0) < number and child.poll() is None:
        assert time.monotonic() < until, "the consumer does not come on"
        time.sleep(0.001)


def prove(size: Size) -> Proved:
    """Bodies first, then kills."""
    figures, crashes = _bodies(size)
    return Proved([*figures, *_kills(size), *events.prove(size)], crashes)


def main(arguments: Sequence[str]) -> None:
    """The process that is killed."""
    path, deleted, *numbers = arguments
    events, seed, die_in = map(int, numbers)
    consume(Path(path), Path(deleted), events, seed, die_in)


if __name__ == "__main__":
    main(sys.argv[1:])
