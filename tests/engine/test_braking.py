"""What a run's brake is told: the store's past once, and each mail that goes wrong once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from mailsluice.engine.braking import Braking
from mailsluice.feedback.brake import Brake
from mailsluice.feedback.ingest import Heard
from mailsluice.feedback.ramp import Limits
from mailsluice.feedback.records import parse
from mailsluice.feedback.store import FeedbackStore
from mailsluice.model import codes
from tests.feedback import shapes
from tests.feedback.test_listener import event


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    with closing(FeedbackStore.open(tmp_path / "feedback.db")) as opened:
        yield opened


def bounced(
    store: FeedbackStore, rows: Sequence[int], *, attempt: int = 1, run: str = shapes.RUN
) -> Heard:
    """Have the store hear of bounces."""
    parsed = []
    for row in rows:
        record = event(row, "Bounce")
        record["mail"]["messageId"] += f"-{attempt}"
        if run != shapes.RUN:
            record["mail"]["tags"] = {"mailsluice-id": [f"{run}-{row}"]}
        parsed += parse(shapes.firehose(record))
    return Heard(parsed, store.record(parsed, 0.0))


def bounces(brake: Brake) -> tuple[int, int]:
    """How many were sent, and how many of them bounced, as the brake has it."""
    found = brake.gauges()[codes.BOUNCES_TOO_MANY].estimate
    return found.sends, found.heard


def test_a_run_that_carries_on_begins_with_its_evidence(store: FeedbackStore) -> None:
    bounced(store, range(1, 31))
    bounced(store, range(31, 61), run="another")
    brake = Brake(Limits())
    Braking(brake, shapes.RUN, lambda: None).begin(range(1, 101), store, 0.0)
    assert bounces(brake) == (100, 30)
    stop = brake.stop(0.0)
    assert stop is not None
    assert stop.code == codes.BOUNCES_TOO_MANY


def test_what_comes_while_the_past_is_read_back_counts_once(store: FeedbackStore) -> None:
    brake = Brake(Limits())
    braking = Braking(brake, shapes.RUN, lambda: None)
    braking.heard(bounced(store, [1, 2]))
    late: list[Heard] = []
    rows = iter(range(1, 101))

    def attempted() -> Iterator[int]:
        late.append(bounced(store, [3]))  # after the store was read
        braking.heard(late[0])
        yield from rows

    braking.begin(attempted(), store, 0.0)
    assert bounces(brake) == (100, 3)


def test_a_row_whose_two_mails_bounce_is_one_bounce_of_two_mails(store: FeedbackStore) -> None:
    brake = Brake(Limits())
    woken: list[bool] = []
    braking = Braking(brake, shapes.RUN, lambda: woken.append(True))
    braking.begin(range(1, 101), store, 0.0)
    braking.heard(bounced(store, [7]))
    braking.heard(bounced(store, [7], attempt=2))
    braking.heard(bounced(store, [8], run="another"))
    assert bounces(brake) == (100, 1)
    assert woken == [True, True]
