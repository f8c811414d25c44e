"""Sources that are files, objects in S3, or standard input."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from mailsluice.model import Head, SourceIdentity
from mailsluice.model.errors import SourceError
from mailsluice.sources import Fields, Row, foreign
from mailsluice.sources.blocks import (
    BLOCK_BYTES,
    S3_SCHEME,
    STANDARD_INPUT,
    Blocks,
    BrokenGzipError,
)
from mailsluice.sources.csv import CsvParser
from mailsluice.sources.dialect import SEPARATORS
from mailsluice.sources.encoding import (
    NewParser,
    Parser,
    RecodingParser,
    is_utf8,
    require_utf8,
)
from mailsluice.sources.lines import UTF8_BOM
from mailsluice.sources.ndjson import NdjsonParser

if TYPE_CHECKING:
    from mailsluice.sources.s3 import S3Blocks

logger = logging.getLogger(__name__)

TAB_FIRST = ("\t", *(separator for separator in SEPARATORS if separator != "\t"))
"""With one column any separator would do: a TSV's must then not be the comma."""


ESTIMATE_BYTES = 1024 * 1024
"""Content at the beginning of a file by which its rows are estimated, and its encoding judged: some
16,000 of them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate of a file's rows, including those that intake will refuse or skip."""

    rows: int
    exact: bool
    """True if all rows have been counted."""
    addresses_each: float = 1.0
    """Mean number of addresses per sampled row."""


def is_elsewhere(path: str) -> bool:
    """Return True if `path` is not relative to a folder: "-", or `s3://bucket/key`."""
    return path == STANDARD_INPUT or path.startswith(S3_SCHEME)


def open_source(  # noqa: PLR0913  # what a list is read by
    path: str | os.PathLike[str],
    fields: Fields,
    *,
    encoding: str = "utf-8",
    region: str | None = None,
    profile: str | None = None,
    within: Path | None = None,
) -> FileSource:
    """Return the source for a file, by its suffix; for "-" (standard input), by its content.

    `encoding` is how it is written, by the name of any of Python's text encodings.
    `s3://bucket/key` is an object in S3, for which `region` and `profile` are the AWS SDK's. A file
    must lie in the folder `within`, if that is given.

    Content is NDJSON if its first character is `{` or `[`, otherwise CSV. Whether it is
    gzipped is seen by its first bytes, whatever the name says. Blocks for as long as it takes to
    read 64 KiB. Raises SourceError if the file is missing, unreadable, or of no known suffix.
    """
    blocks: Blocks | S3Blocks
    if isinstance(path, str) and path.startswith(S3_SCHEME):
        # Only then: it takes the AWS SDK, a quarter of a second.
        from mailsluice.sources.s3 import S3Blocks  # noqa: PLC0415

        blocks = S3Blocks(path, region=region, profile=profile)
    else:
        blocks = Blocks(path, within)
    suffix = suffix_of(blocks.path)
    if suffix not in PARSERS:
        raise SourceError(
            f'{blocks.name}: "{suffix}" is no known format; save it as "CSV UTF-8" (.csv), or use '
            ".tsv, .ndjson or .jsonl (one JSON object a line), each also with .gz"
        )
    new_parser = PARSERS[suffix]
    if is_utf8(encoding):
        return FileSource(blocks, fields, new_parser)
    recoding = partial(RecodingParser, new_parser, encoding)
    return FileSource(blocks, fields, recoding, is_sampled=False)


def _addresses_of(row: Row) -> int:
    """Return about how many addresses a row has; intake counts them exactly."""
    recipient = row.recipient
    if recipient is None:
        return 1
    return sum(
        each.count(",") + 1 if isinstance(each, str) else len(each)
        for each in (recipient.to, recipient.cc, recipient.bcc)
        if each
    )


def suffix_of(path: str) -> str:
    """Return the format's suffix in lower case: `.csv` for `a.CSV.gz`; empty if none."""
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix


class FileSource:
    """A `Source` over the content of a file, in the format that `new_parser` parses."""

    def __init__(
        self,
        blocks: Blocks | S3Blocks,
        fields: Fields,
        new_parser: NewParser,
        *,
        is_sampled: bool = True,
    ) -> None:
        self._is_sampled = is_sampled
        """True if a list whose beginning is not UTF-8 is refused."""
        self._blocks = blocks
        self._fields = fields
        self._new_parser = new_parser
        self._said = False

    async def identify(self) -> SourceIdentity:
        """See `Source.identify` and `Blocks.identify`."""
        return await self._blocks.identify()

    async def head_of(self, size: int) -> Head | None:
        """See `Source.head_of`."""
        return await self._blocks.head_of(size)

    @property
    def head(self) -> Head | None:
        """See `Source.head`."""
        return self._blocks.head

    @property
    def fraction_read(self) -> float | None:
        """Part of the stored (compressed) bytes read so far; None for a pipe."""
        return self._blocks.fraction_read

    @property
    def can_be_read_again(self) -> bool:
        """True if `rows` gives the same rows once more; False for a pipe."""
        return self._blocks.again is not None

    async def estimate(self) -> Estimate | None:
        """Estimate the number of rows from the file's beginning, without disturbing `rows`.

        None if the file can be read only once, or its beginning cannot be read: `rows` says why.
        It takes about as long as sending does to read 1 MiB, a list of rows at a time.
        """
        try:
            head = self._blocks.again
            return None if head is None else await self._estimate(head)
        except (SourceError, BrokenGzipError):
            return None

    async def _estimate(self, head: Blocks | S3Blocks) -> Estimate | None:
        parser = self._new_parser(head.name, self._fields)
        rows = content = addresses = 0
        async with aclosing(aiter(head)) as blocks:
            async for block in blocks:
                if not content:
                    foreign.require_list(head.name, block)
                for some in parser.feed(block):
                    rows += len(some)
                    addresses += sum(map(_addresses_of, some))
                    await checkpoint()
                content += len(block)
                if content >= ESTIMATE_BYTES:
                    break
        fraction = head.fraction_read
        if not fraction or (fraction < 1 and not rows):
            return None  # one row that is longer than the beginning says nothing of the others
        if fraction < 1:
            return Estimate(round(rows / fraction), exact=False, addresses_each=addresses / rows)
        for some in parser.finish():
            rows += len(some)
            addresses += sum(map(_addresses_of, some))
        return Estimate(rows, exact=True, addresses_each=addresses / rows if rows else 1.0)

    async def rows(self) -> AsyncGenerator[list[Row], None]:
        """Yield all rows; rows from a pipe are handed on as they arrive.

        Parsing stays on the event loop: a thread would hold the interpreter's lock for 5 ms at a
        time, longer than any of these lists takes.
        """
        await self._require_utf8()
        parser = self._new_parser(self._blocks.name, self._fields)
        begun = False
        try:
            async with aclosing(aiter(self._blocks)) as blocks:
                async for block in blocks:
                    if not begun:
                        foreign.require_list(self._blocks.name, block)
                        begun = True
                    for rows in parser.feed(block):
                        if rows:
                            self._say(parser.notice)
                            yield rows
                        await checkpoint()
                    await checkpoint()  # also where a block holds no end of a row
        except BrokenGzipError as error:
            raise SourceError(
                f"{self._blocks.name}: the gzip stream {error} after line {parser.line}"
            ) from error
        for rows in parser.finish():
            if rows:
                self._say(parser.notice)
                yield rows
            await checkpoint()
        if trailing := self._blocks.trailing:
            name = self._blocks.name
            logger.warning("%s: %d bytes after the gzip stream's end are ignored", name, trailing)

    async def _require_utf8(self) -> None:
        """Check the beginning before handing on a row. A pipe's rows are handed on as they come."""
        head = self._blocks.again if self._is_sampled else None
        if head is None:
            return
        sample = bytearray()
        with suppress(BrokenGzipError):  # `rows` comes to the same place
            async with aclosing(aiter(head)) as blocks:
                async for block in blocks:
                    sample += block
                    if len(sample) >= ESTIMATE_BYTES:
                        break
        require_utf8(head.name, bytes(sample))

    def _say(self, notice: str | None) -> None:
        """Tell the user once how the list is read, if it is not as the settings say."""
        if notice is not None and not self._said:
            self._said = True
            logger.warning("%s: %s", self._blocks.name, notice)


class DetectingParser:
    """Chooses the parser by the first character that is not blank."""

    def __init__(self, name: str, fields: Fields) -> None:
        self._name = name
        self._fields = fields
        self._begun = b""
        self._chosen: Parser | None = None

    @property
    def line(self) -> int:
        """Lines whose rows have been handed on."""
        return self._chosen.line if self._chosen else 0

    @property
    def notice(self) -> str | None:
        """The note of the chosen parser."""
        return self._chosen.notice if self._chosen else None

    def feed(self, block: bytes) -> Iterator[list[Row]]:
        """Yield the rows that `block` completes."""
        if self._chosen is None:
            block = self._begun + block
            first = block.lstrip(UTF8_BOM + b" \t\r\n")[:1]
            if not first and len(block) < BLOCK_BYTES:
                self._begun = block
                return
            new_parser = NdjsonParser if first in {b"{", b"["} else CsvParser
            self._chosen = new_parser(self._name, self._fields)
        yield from self._chosen.feed(block)

    def finish(self) -> Iterator[list[Row]]:
        """Yield the rows that the end completes."""
        if self._chosen is None:
            raise SourceError(f"{self._name} is empty")
        yield from self._chosen.finish()


PARSERS: dict[str, NewParser] = {
    ".csv": CsvParser,
    ".tsv": partial(CsvParser, separators=TAB_FIRST),
    ".ndjson": NdjsonParser,
    ".jsonl": NdjsonParser,
    "": DetectingParser,
    ".txt": DetectingParser,
}
"""Parsers by suffix, without a final `.gz`."""
