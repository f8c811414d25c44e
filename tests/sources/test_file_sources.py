"""Files, pipes and standard input: formats, gzip, identity, waiting and cancelling."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mailsluice.model import SourceIdentity
from mailsluice.model.errors import SourceChangedError, SourceError
from mailsluice.sources import ROWS_MAX, Fields, Row, Source
from mailsluice.sources.blocks import BLOCK_BYTES
from mailsluice.sources.files import ESTIMATE_BYTES, Estimate, open_source
from mailsluice.sources.lines import TOO_LONG

gzipped = partial(gzip.compress, mtime=0)
"""The same bytes at any time: they are part of tests' names, which all processes must agree on."""

CSV = b"email,name\nann@example.com,Ann\nbob@example.com,Bob\n"
NDJSON = b'{"email":"ann@example.com"}\n{"email":"bob@example.com"}\n'
ADDRESSES = ["ann@example.com", "bob@example.com"]
LONG = b"email,name\n" + b"".join(
    b"%s@example.com,U\n" % hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(20_000)
)
"""Several blocks, packed or not."""
MANY = b"email,name\n" + b"".join(b"u%d@example.com,U\n" % n for n in range(40_000))


async def read(source: Source) -> list[Row]:
    return [row async for rows in source.rows() for row in rows]


async def read_into(rows: list[Row], source: Source) -> None:
    async for some in source.rows():
        rows += some


async def addresses(source: Source) -> list[object]:
    return [row.recipient and row.recipient.to for row in await read(source)]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@contextmanager
def standard_input(fd: int) -> Iterator[None]:
    before = os.dup(0)
    os.dup2(fd, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


@contextmanager
def pipe(content: bytes | None = None) -> Iterator[tuple[int, int]]:
    """A pipe's two ends; with `content`, written and closed."""
    reading, writing = os.pipe()
    if content is not None:
        os.write(writing, content)
        os.close(writing)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        if content is None:
            os.close(writing)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a.tsv", CSV.replace(b",", b"\t")),
        ("a.ndjson", NDJSON),
        ("a.jsonl", NDJSON),
        ("a.csv.gz", gzipped(CSV)),
        ("a.ndjson.gz", gzipped(NDJSON)),
        ("plain.csv.gz", CSV),
        ("packed.csv", gzipped(CSV)),
        ("members.csv.gz", gzipped(CSV[:20]) + gzipped(b"") + gzipped(CSV[20:])),
        ("padded.csv.gz", gzipped(CSV) + bytes(512)),
        ("a.txt", CSV.replace(b",", b"\t")),
        ("noname", NDJSON),
        ("noname.gz", gzipped(b"\n" + NDJSON)),
    ],
)
async def test_the_suffix_tells_the_format_and_the_content_whether_it_is_gzip(
    name: str, content: bytes, tmp_path: Path
) -> None:
    source = open_source(written(tmp_path / name, content), Fields())
    assert isinstance(source, Source)
    assert await addresses(source) == ADDRESSES
    assert source.fraction_read == 1.0
    assert await addresses(source) == ADDRESSES  # read again from the first


@pytest.mark.parametrize(
    "content",
    [CSV, NDJSON, b"\xef\xbb\xbf\r\n" + NDJSON, gzipped(CSV), gzipped(NDJSON)],
)
@pytest.mark.parametrize("how", ["pipe", "file"])
async def test_standard_input_is_told_by_its_content(
    content: bytes, how: str, tmp_path: Path
) -> None:
    with (
        pipe(content) as (reading, _),
        written(tmp_path / "in", content).open("rb") as file,
        standard_input(reading if how == "pipe" else file.fileno()),
    ):
        source = open_source("-", Fields())
        identity = await source.identify()
        assert identity.size == (None if how == "pipe" else len(content))
        assert await addresses(source) == ADDRESSES
        with pytest.raises(SourceError, match="standard input can be read only once"):
            await read(source)


async def test_empty_standard_input_is_refused() -> None:
    empty = pytest.raises(SourceError, match="standard input is empty")
    with pipe(b"") as (reading, _), standard_input(reading), empty:
        await read(open_source("-", Fields()))
    with open(os.devnull, "rb") as null, standard_input(null.fileno()), empty:  # noqa: ASYNC230, PTH123  # cannot be polled
        await read(open_source("-", Fields()))


@pytest.mark.process
def test_a_process_reads_rows_from_its_real_standard_input() -> None:
    program = (
        "import anyio\n"
        "from mailsluice.sources import Fields\n"
        "from mailsluice.sources.files import Estimate, open_source\n"
        "async def main():\n"
        "    async for rows in open_source('-', Fields()).rows():\n"
        "        print(len(rows), flush=True)\n"
        "anyio.run(main)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(CSV)
        process.stdin.flush()
        assert process.stdout.readline() == b"2\n"  # while the pipe is still open
        process.stdin.write(b"cy@example.com,Cy\n")
        process.stdin.close()
        assert process.stdout.read() == b"1\n"
    assert process.returncode == 0


async def test_rows_of_a_slow_producer_are_handed_on_as_they_come() -> None:
    reading, writer = os.pipe()
    source = open_source(f"/dev/fd/{reading}", Fields())
    os.write(writer, CSV + b"half@exam")
    lists = source.rows()
    assert [row.line for row in await anext(lists)] == [2, 3]
    os.write(writer, b"ple.com,Half\n")
    assert [row.line for row in await anext(lists)] == [4]
    os.close(writer)
    assert await anext(lists, None) is None
    assert source.fraction_read is None
    os.close(reading)


async def test_a_pipe_is_known_by_its_name_alone() -> None:
    with pipe() as (reading, writer):
        path = f"/dev/fd/{reading}"
        source = open_source(path, Fields())

        async def write(own: int) -> None:
            async with await anyio.open_file(own, "wb") as file:
                await file.write(MANY)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write, os.dup(writer))
            assert await source.identify() == SourceIdentity(name=path)
            os.dup2(reading, writer)  # the task's is the only one; `pipe` closes this
            assert len(await read(source)) == 40_000
            assert (source.head, await source.head_of(10)) == (None, None)


@pytest.mark.parametrize("kind", ["pipe", "device", "endless", "socket"])
def test_what_is_no_file_is_refused_at_once_with_the_way_to_give_a_pipe(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "list.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        path.symlink_to("/dev/zero" if kind == "endless" else os.devnull)
    with pytest.raises(SourceError, match=r"and not a file; .* --recipients - < PIPE$"):
        open_source(path, Fields())


def test_standard_input_without_an_end_is_refused() -> None:
    with (
        Path("/dev/zero").open("rb") as zero,
        standard_input(zero.fileno()),
        pytest.raises(SourceError, match="standard input cannot be read: it is a device"),
    ):
        open_source("-", Fields())


async def test_waiting_for_a_pipe_can_be_cancelled() -> None:
    with pipe() as (reading, _), standard_input(reading):
        source = open_source("-", Fields())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, source)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
    assert tasks.cancel_scope.cancelled_caught


async def test_a_file_tells_its_size_and_time(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", MANY)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert await open_source(path, Fields()).identify() == SourceIdentity(
        name=str(path), size=len(MANY), modified=1_700_000_000
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("how", ["path", "standard input"])
async def test_the_head_is_the_stored_bytes_that_have_been_read(
    packed: bool,  # noqa: FBT001  # a table's value
    how: str,
    tmp_path: Path,
) -> None:
    stored = gzipped(LONG) if packed else LONG
    path = written(tmp_path / "a.csv", stored)
    with path.open("rb") as file, standard_input(file.fileno()):
        source = open_source(path if how == "path" else "-", Fields())
        heads = {source.head async for _ in source.rows()}
        assert len(heads) > 2
        for head in heads:
            assert head is not None
            assert head.digest == hashlib.sha256(stored[: head.size]).hexdigest()
            assert await source.head_of(head.size) == head
        assert await source.head_of(10 * len(stored)) == source.head
        assert source.head is not None
        assert source.head.size == len(stored)


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"email,name\nzed@example.com")


def exchanged(path: Path) -> None:
    other = written(path.with_suffix(".new"), path.read_bytes())
    other.rename(path)


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"late@example.com,Late\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "changed"),
        (overwritten, "changed"),
        (appended, "changed"),
        (exchanged, "exchanged"),
        (Path.unlink, "removed"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
async def test_a_file_that_changes_while_it_is_read_gives_no_more_rows(
    packed: bool,  # noqa: FBT001  # a table's value
    change: Callable[[Path], object],
    told: str,
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "a.csv", gzipped(LONG) if packed else LONG)
    source = open_source(path, Fields())
    await source.identify()
    reading = source.rows()
    await anext(reading)
    before = source.head
    change(path)
    with pytest.raises(SourceChangedError, match=rf"a\.csv: it has been .*{told}"):
        [_ async for _ in reading]
    assert source.head == before


@pytest.mark.parametrize("packed", [False, True])
async def test_progress_grows_to_one(packed: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a table's value
    content = MANY + os.urandom(3 * BLOCK_BYTES).hex().encode() + b"\n"
    path = written(tmp_path / "a.csv", gzipped(content) if packed else content)
    source = open_source(path, Fields())
    begun = source.fraction_read
    seen = [begun, *[source.fraction_read async for _ in source.rows()]]
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen, key=float)  # type: ignore[arg-type]  # a file's is never None
    assert len(set(seen)) > 2


async def test_the_loop_gets_its_turn_between_lists_of_rows(tmp_path: Path) -> None:
    source = open_source(written(tmp_path / "a.csv", MANY), Fields())
    turns = lists = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_turns)
        async for _ in source.rows():
            lists += 1
        tasks.cancel_scope.cancel()
    assert turns >= lists >= 40_000 // ROWS_MAX


async def test_no_list_is_empty_where_a_file_is_full_of_blank_lines(tmp_path: Path) -> None:
    for name, content in (("a.csv", CSV + b",\n" * 5_000), ("a.ndjson", NDJSON + b"\n" * 5_000)):
        source = open_source(written(tmp_path / name, content), Fields())
        assert [len(rows) async for rows in source.rows()] == [2]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_huge_line_is_one_bad_row_in_bounded_memory(packed: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a table's value
    path = tmp_path / "a.csv"
    size = 64 * 1024 * 1024
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        file.write(CSV + b'x@example.com,"')
        file.write(bytes(size)) if packed else file.seek(size, os.SEEK_CUR)
        file.write(b"\n" + b"cy@example.com,Cy\n")
    tracemalloc.start()
    try:
        rows = await read(open_source(path, Fields()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [row.problem for row in rows] == [None, None, TOO_LONG, None]
    assert [row.line for row in rows] == [2, 3, 4, 5]
    assert peak < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda packed: packed[: len(packed) // 2], "ends in the middle after line "),
        (lambda packed: packed[:1], None),
        (lambda packed: packed[:-2], "ends in the middle after line 40001"),
        (lambda packed: packed[:-8] + bytes(8), "is corrupt"),
        (lambda packed: packed + b"\x1f\x8bjunk", "is corrupt"),
    ],
)
async def test_a_broken_gzip_stream_ends_the_run_after_its_good_rows(
    damage: object, told: str | None, tmp_path: Path
) -> None:
    assert callable(damage)
    source = open_source(written(tmp_path / "a.csv.gz", damage(gzipped(MANY))), Fields())
    rows: list[Row] = []
    with pytest.raises(SourceError) as caught:
        await read_into(rows, source)
    assert "a.csv.gz" in str(caught.value)
    if told:
        assert told in str(caught.value)
        assert len(rows) > 10_000


@pytest.mark.parametrize("junk", [b"junk", b"\x1f", bytes(600) + b"x" * 300_000, bytes(10)])
async def test_what_follows_the_end_of_gzip_is_passed_over_with_a_line(
    junk: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = gzipped(CSV[:20]) + gzipped(CSV[20:])
    source = open_source(written(tmp_path / "a.csv.gz", packed + junk), Fields())
    assert await addresses(source) == ADDRESSES
    said = [record.getMessage() for record in caplog.records]
    left = len(junk.lstrip(b"\0"))
    assert said == (
        [f"{tmp_path}/a.csv.gz: {left} bytes after the gzip stream's end are ignored"]
        if left
        else []
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.csv", "No such file"),
        ("folder.csv", "directory"),
        ("book.xlsx", 'save it as "CSV UTF-8"'),
        ("nowhere/a.csv", "No such file"),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name(name: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    written(tmp_path / "book.xlsx", b"PK\3\4")
    with pytest.raises(SourceError, match=told) as caught:
        open_source(tmp_path / name, Fields())
    assert name in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", CSV)
    path.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(path, Fields())


async def test_a_file_that_vanishes_before_it_is_read_is_a_source_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", CSV)
    source = open_source(path, Fields())
    path.unlink()
    with pytest.raises(SourceError, match="No such file"):
        await read(source)


# --- how many there are ---------------------------------------------------------------------------

LARGE = b"email,name\n" + b"".join(b"u%d@example.com,Name %d\n" % (n, n) for n in range(100_000))


@pytest.mark.parametrize(
    ("name", "content", "estimate"),
    [
        ("a.csv", CSV, Estimate(2, exact=True)),
        ("a.csv.gz", gzipped(CSV), Estimate(2, exact=True)),
        ("a.ndjson", NDJSON.rstrip(), Estimate(2, exact=True)),
        ("header.csv", b"email\n", Estimate(0, exact=True)),
        ("many.csv", MANY, Estimate(40_000, exact=True)),
        ("empty.csv", b"", None),
        ("broken.csv", b"name\nann@example.com\n", None),
        ("cut.csv.gz", gzipped(CSV)[:-9], None),
    ],
)
async def test_a_small_file_is_counted(
    name: str, content: bytes, estimate: Estimate | None, tmp_path: Path
) -> None:
    assert await open_source(written(tmp_path / name, content), Fields()).estimate() == estimate


@pytest.mark.parametrize("packed", [False, True])
async def test_a_large_file_is_estimated_by_its_beginning_and_read_as_ever(
    packed: bool,  # noqa: FBT001  # a parameter
    tmp_path: Path,
) -> None:
    content = gzipped(LARGE) if packed else LARGE
    source = open_source(written(tmp_path / "a.csv", content), Fields())
    reading = source.rows()
    first = await anext(reading)
    estimate = await source.estimate()
    assert estimate is not None
    assert not estimate.exact
    assert estimate.rows == pytest.approx(100_000, rel=0.05)
    rest = [row async for rows in reading for row in rows]
    assert len(first) + len(rest) == 100_000


async def test_what_can_be_read_only_once_is_not_estimated(tmp_path: Path) -> None:
    with pipe(CSV) as (reading, _), standard_input(reading):
        assert await open_source("-", Fields()).estimate() is None
    with written(tmp_path / "in", CSV).open("rb") as file, standard_input(file.fileno()):
        source = open_source("-", Fields())
        assert await source.estimate() is None
        assert await addresses(source) == ADDRESSES


async def test_an_estimate_knows_how_many_addresses_a_row_has(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("email,copy\n" + "a@example.com,b@example.com\n" * 10)
    estimate = await open_source(path, Fields(cc="copy")).estimate()
    assert estimate is not None
    assert (estimate.rows, estimate.exact, estimate.addresses_each) == (10, True, 2.0)


async def test_one_row_longer_than_what_is_looked_at_gives_no_estimate(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("email\n" + "x" * 3 * ESTIMATE_BYTES)
    assert await open_source(path, Fields()).estimate() is None
