"""Fates for a program: as they come in, and by MessageId."""

from __future__ import annotations

import gc
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from mailsluice import ArgumentTypeError, Engine, Settings, SuppressionSettings
from mailsluice.config.settings import FeedbackSettings, SesSettings
from mailsluice.engine.fates import Fates
from mailsluice.model.errors import ConfigurationError
from mailsluice.suppression.scopes import Reason
from mailsluice.suppression.store import Suppressions
from tests.feedback import shapes
from tests.feedback.test_listener import event, lines


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "events").mkdir()
    return tmp_path / "events"


def fates(place: Path) -> Fates:
    store = place.parent / "feedback.db"
    return Fates(FeedbackSettings(files=str(place), store=store), SesSettings())


async def test_fates_come_as_events_do(place: Path) -> None:
    (place / "a").write_bytes(lines(1, 2))
    async with aclosing(fates(place).follow()) as following:
        first = [await anext(following), await anext(following)]
        assert [(each.run, each.row, each.fate) for each in first] == [
            (shapes.RUN, 1, "sent"),
            (shapes.RUN, 2, "sent"),
        ]
        (place / "b").write_bytes(shapes.firehose(event(2, "Send")))  # a copy says nothing new
        (place / "c").write_bytes(shapes.firehose(event(2, "Bounce")))
        assert (await anext(following)).fate == "bounced"
    found = await fates(place).of(first[1].message_id)
    assert found is not None
    assert (found.run, found.row, found.fate) == (shapes.RUN, 2, "bounced")
    assert found.heard_at is not None
    assert found.heard_at.year == 2026
    assert await fates(place).of("nobody's") is None


async def test_one_run_is_told_apart_and_a_loop_may_be_left(place: Path) -> None:
    other = event(1, "Delivery")
    other["mail"] = other["mail"] | {"tags": {"mailsluice-id": ["another-1"]}}
    (place / "a").write_bytes(lines(1) + shapes.firehose(other))
    async for found in fates(place).follow("another"):
        assert (found.run, found.fate) == ("another", "delivered")
        break
    gc.collect()  # what was left in the middle is closed
    assert await fates(place).of(found.message_id) is not None


async def test_without_a_stream_there_is_nothing_to_follow(tmp_path: Path) -> None:
    silent = Fates(None, SesSettings())
    with pytest.raises(ConfigurationError, match=r"^\[feedback\]: it is missing"):
        await silent.of("id")
    stored = Fates(FeedbackSettings(store=tmp_path / "feedback.db"), SesSettings())
    assert await stored.of("id") is None
    with pytest.raises(ConfigurationError, match="there is nothing to follow"):
        await anext(stored.follow())


async def test_an_engine_suppresses_what_bounces_while_a_program_follows(place: Path) -> None:
    (place / "a").write_bytes(shapes.firehose(event(1, "Bounce")))
    settings = Settings(
        ses=SesSettings(region="eu-west-1"),
        feedback=FeedbackSettings(files=str(place), store=place.parent / "feedback.db"),
        suppression=SuppressionSettings(path=place.parent / "suppressions.db"),
    )
    async with Engine.open(settings) as engine:
        async with aclosing(engine.feedback()) as following:
            bounced = await anext(following)
        assert bounced.fate == "bounced"
        assert await engine.fate(bounced.message_id) is not None
    with closing(Suppressions.open(place.parent / "suppressions.db", "address")) as store:
        assert [each.reason for each in store.entries()] == [Reason.BOUNCE]


async def test_an_engine_without_feedback_says_what_is_missing() -> None:
    async with Engine.open(Settings(ses=SesSettings(region="eu-west-1"))) as engine:
        with pytest.raises(ConfigurationError, match=r"^\[feedback\]: it is missing"):
            await anext(engine.feedback())
        with pytest.raises(ArgumentTypeError, match="message_id"):
            await engine.fate(7)  # type: ignore[arg-type]
