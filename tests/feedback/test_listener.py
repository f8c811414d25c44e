"""From queues and files into the store: nothing lost, nothing in circles, whatever breaks."""

from __future__ import annotations

import gzip
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from mailsluice.feedback.files import FileStream
from mailsluice.feedback.ingest import Ingest
from mailsluice.feedback.listener import Listener
from mailsluice.feedback.queue import QueueStream
from mailsluice.feedback.records import Parsed, SesEvent
from mailsluice.feedback.store import FeedbackStore
from mailsluice.model.errors import ConfigurationError, SourceError, StoreError
from tests.feedback import shapes
from tests.support.aws import ACCESS, Aws, left


def event(row: int, kind: str = "Send") -> dict[str, Any]:
    tagged = shapes.ALL[kind]["mail"]["tags"] | {"mailsluice-id": [f"{shapes.RUN}-{row}"]}
    message_id = f"0102018f4a3c2b1d-5e6f7a8b-9c0d-4e1f-8a2b-{row:012x}-000000"
    mail = shapes.ALL[kind]["mail"] | {"tags": tagged, "messageId": message_id}
    return shapes.ALL[kind] | {"mail": mail}


def lines(*rows: int) -> bytes:
    return b"".join(shapes.firehose(event(row)) for row in rows)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    opened = FeedbackStore.open(tmp_path / "feedback.db")
    yield opened
    opened.close()


def heard(store: FeedbackStore) -> list[int]:
    return sorted(store.fates(shapes.RUN))


class Queue:
    """An SQS queue on loopback."""

    def __init__(self, aws: Aws, patch: pytest.MonkeyPatch) -> None:
        for name, value in (aws.environment | ACCESS).items():
            patch.setenv(name, value)
        self._sqs = aws.client("sqs")
        name = f"events{random.getrandbits(48)}"
        self.url: str = self._sqs.create_queue(QueueName=name)["QueueUrl"]

    def put(self, *bodies: bytes | str) -> None:
        for body in bodies:
            text = body if isinstance(body, str) else body.decode()
            self._sqs.send_message(QueueUrl=self.url, MessageBody=text)

    @property
    def left(self) -> int:
        return left(self._sqs, self.url)

    def stream(self, wait_s: int = 1) -> QueueStream:
        return QueueStream(self.url, region="us-east-1", profile=None, wait_s=wait_s)


@pytest.fixture
def queue(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(aws, monkeypatch)


@asynccontextmanager
async def running(listener: Listener) -> Any:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.run)
        yield
        listener.stop()


async def until(condition: Any) -> None:
    while not condition():  # noqa: ASYNC110  # another process changes it
        await anyio.sleep(0.02)  # another process changes it


async def test_everything_in_a_queue_is_stored_and_then_deleted(
    queue: Queue, store: FeedbackStore
) -> None:
    bodies = [wrap(event(row)) for row, wrap in enumerate(shapes.WRAPPINGS[:3], 1)]
    queue.put(*bodies, shapes.VALIDATED, "no JSON", *bodies)
    listener = Listener(queue.stream(), Ingest(store))
    assert await listener.drain() == 8
    assert (heard(store), queue.left) == ([1, 2, 3], 0)
    assert [why for _, why, _ in store.unread()] == ["it is not JSON"]
    assert listener.ingest.totals.events == {"Send": 6}
    assert listener.ingest.totals.unread == 1


async def test_a_full_queue_has_more_receivers(queue: Queue, store: FeedbackStore) -> None:
    queue.put(*(shapes.raw(event(row)) for row in range(1, 101)))
    listener = Listener(queue.stream(), Ingest(store))
    batches: list[int] = []
    listener.ingest.tell(lambda told: batches.append(len(told.parsed)))
    async with running(listener):
        await until(lambda: queue.left == 0)
    assert heard(store) == list(range(1, 101))
    assert sum(batches) == 100
    assert max(batches) > 10, "several receives share a commit"


async def test_what_acts_on_events_comes_between_the_store_and_the_delete(
    queue: Queue, store: FeedbackStore
) -> None:
    seen: list[tuple[list[int], int]] = []

    def act(parsed: Sequence[Parsed]) -> None:
        assert all(isinstance(each, SesEvent) for each in parsed)
        seen.append((heard(store), queue.left))
        if len(seen) == 1:
            raise StoreError("suppressions.db: the disk is full")

    queue.put(shapes.raw(event(7, "Bounce")))
    listener = Listener(queue.stream(), Ingest(store, acts=[act]))
    with pytest.raises(StoreError, match="the disk is full"):
        await listener.drain()
    assert seen == [([7], 1)], "stored, not deleted"
    assert queue.left == 1


async def test_a_disk_that_is_full_loses_nothing_and_ends_nothing(
    queue: Queue, store: FeedbackStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that could not be stored stays in the queue, hidden for a while."""
    caplog.set_level(logging.INFO, "mailsluice")
    fails = [True]

    def act(_: Sequence[Parsed]) -> None:
        if fails[0]:
            raise StoreError("suppressions.db: database or disk is full (SQLITE_FULL)")

    queue.put(shapes.raw(event(1)))
    listener = Listener(queue.stream(), Ingest(store, acts=[act]))
    async with running(listener):
        await until(lambda: listener.trouble)
        fails[0] = False
        queue.put(shapes.raw(event(2)))
        await until(lambda: listener.trouble is None and queue.left == 1)
    assert heard(store) == [1, 2]
    said = [record.getMessage() for record in caplog.records]
    assert [each.partition(": ")[2].partition(":")[0] for each in said] == [
        "no events can be taken in",
        "events are taken in again",
    ]
    assert not any("@" in each for each in said)


async def test_a_queue_that_is_not_there_is_tried_again(queue: Queue, store: FeedbackStore) -> None:
    missing = QueueStream(f"{queue.url}x", region="us-east-1", profile=None, wait_s=1)
    with pytest.raises(ConfigurationError, match=r"^\[feedback\] queue: .*x: .*sqs:ReceiveMessage"):
        await Listener(missing, Ingest(store)).drain()
    listener = Listener(missing, Ingest(store))
    async with running(listener):
        await until(lambda: listener.trouble)
        aws_name = missing.name.rpartition("/")[2]
        queue._sqs.create_queue(QueueName=aws_name)
        await until(lambda: listener.trouble is None)


@pytest.mark.parametrize("is_packed", [False, True])
async def test_files_are_read_once_however_often_they_are_looked_at(
    tmp_path: Path, store: FeedbackStore, *, is_packed: bool
) -> None:
    folder = tmp_path / "events" / "2026" / "11"
    folder.mkdir(parents=True)
    content = lines(1, 2)
    (folder / "a").write_bytes(gzip.compress(content) if is_packed else content)
    (folder / ".hidden").write_bytes(lines(9))
    (folder / "b.ndjson").write_bytes(b"\n" + lines(3) + b"{broken\n\n")
    stream = FileStream(str(tmp_path / "events"), region=None, profile=None)
    listener = Listener(stream, Ingest(store))
    assert await listener.drain() == 4
    assert await listener.drain() == 0
    (folder / "c.gz").write_bytes(gzip.compress(lines(4)) + gzip.compress(lines(5)))
    with (folder / "b.ndjson").open("ab") as file:
        file.write(lines(6) + lines(7)[:-30])
    assert await listener.drain() == 3
    with (folder / "b.ndjson").open("ab") as file:
        file.write(lines(7)[-30:-1])  # whole, without its end
    assert await listener.drain() == 1
    (folder / "new").write_bytes(lines(8))
    (folder / "new").replace(folder / "a")
    assert await listener.drain() == 1
    assert heard(store) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert store.heard(shapes.RUN) == {"Send": 8}
    assert len(store.unread()) == 1


async def test_a_file_that_cannot_be_read_keeps_no_other_back(
    tmp_path: Path, store: FeedbackStore
) -> None:
    place = tmp_path / "events"
    place.mkdir()
    (place / "a.gz").write_bytes(gzip.compress(lines(1, 2))[:-9])
    (place / "b").write_bytes(lines(3))
    listener = Listener(FileStream(str(place), region=None, profile=None), Ingest(store))
    assert await listener.drain()
    assert 3 in heard(store)
    assert len(store.unread()) == 1
    assert await listener.drain() == 0, "a damaged file is not read in circles"
    missing = FileStream(str(place / "none"), region=None, profile=None)
    with pytest.raises(SourceError, match="none: cannot be read: No such file"):
        await Listener(missing, Ingest(store)).drain()


async def test_a_folder_is_followed(tmp_path: Path, store: FeedbackStore) -> None:
    place = tmp_path / "events"
    listener = Listener(FileStream(str(place), region=None, profile=None), Ingest(store))
    async with running(listener):
        await until(lambda: listener.trouble)
        place.mkdir()
        (place / "a").write_bytes(lines(1))
        await until(lambda: heard(store) == [1] and listener.trouble is None)


async def test_objects_of_s3_are_read_once(
    aws: Aws, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (aws.environment | ACCESS).items():
        monkeypatch.setenv(name, value)
    client = aws.client("s3")
    client.create_bucket(Bucket="firehose")
    prefix = f"{random.getrandbits(48)}/2026/11/27/"
    place = f"s3://firehose/{prefix}"
    client.put_object(Bucket="firehose", Key=f"{prefix}a", Body=lines(1, 2))
    client.put_object(Bucket="firehose", Key=f"{prefix}b.gz", Body=gzip.compress(lines(3)))
    client.put_object(Bucket="firehose", Key=f"{prefix}empty", Body=b"")
    listener = Listener(FileStream(place, region="us-east-1", profile=None), Ingest(store))
    assert (await listener.drain(), await listener.drain()) == (3, 0)
    client.put_object(Bucket="firehose", Key=f"{prefix}a", Body=lines(1, 4))
    assert await listener.drain() == 2
    assert heard(store) == [1, 2, 3, 4]
    nowhere = FileStream("s3://no-such-bucket-here/x", region="us-east-1", profile=None)
    with pytest.raises(SourceError, match="there is no such bucket"):
        await Listener(nowhere, Ingest(store)).drain()


async def test_a_line_without_end_is_bounded(
    tmp_path: Path, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailsluice.feedback.files.READ_BYTES", 1_000)
    monkeypatch.setattr("mailsluice.feedback.files.LINE_BYTES_MAX", 4_000)
    file = tmp_path / "endless"
    file.write_bytes(b"x" * 9_000 + b"\n" + lines(5))
    await Listener(FileStream(str(file), region=None, profile=None), Ingest(store)).drain()
    assert heard(store) == [5]
    assert store.unread()


async def test_lags_and_totals_are_counted(store: FeedbackStore) -> None:
    ingest = Ingest(store, wall=lambda: 1_764_148_000.0 + 10**8)
    await ingest.put([orjson.dumps(event(1)), orjson.dumps(event(1, "Delivery")), b"x"])
    totals = ingest.totals
    assert (totals.events, totals.unread) == ({"Send": 1, "Delivery": 1}, 1)
    assert totals.lags.total() == 2
    assert totals.lag_s > 0
