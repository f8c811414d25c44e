"""Where recipients come from: the protocol that every source follows.

A source reads and parses; `mailing.intake` judges addresses and data. It never blocks the event
loop: bytes are read in a worker thread, and parsing is cut into lists of at most `ROWS_MAX` rows
with a checkpoint between them.

`files` opens a list by its name, `blocks` and `s3` read its bytes, `csv` and `ndjson` make rows of
them, `iterable` takes a caller's own objects. `reading` opens files that a mailing or a command
line names. It knows the model, and S3 through `ses.aws`. Start with `Source` below, then `files`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from mailsluice.model import Head, Recipient, SourceIdentity

ROWS_MAX = 512
"""Rows in one list: about 2 ms of parsing and intake."""

ROW_BYTES_MAX = 4 * 1024 * 1024
"""A longer row is refused: template data (262,144 characters, 4 bytes each) fits four times."""


class Row(NamedTuple):
    """One row of a source: a recipient, or the reason why it cannot be read."""

    line: int
    """Line of a file on which it begins, from 1; 0 if the source has no lines."""
    recipient: Recipient | None
    problem: str | None = None
    """The reason as a plain sentence without the line: "has 3 fields, the header has 4"."""
    names: Mapping[str, str] | None = None
    """What the list calls the fields of `Recipient`, for refusals: `to` to `E-Mail`."""


@runtime_checkable
class Source(Protocol):
    """Rows in a fixed order: reading it again gives the same rows."""

    async def identify(self) -> SourceIdentity | None:
        """Return what identifies the source at this moment; None if nothing does.

        Called before `rows`, which checks that the source stays the same. Raises SourceError as
        `rows` does.
        """

    async def head_of(self, size: int) -> Head | None:
        """Return the first `size` stored bytes, or all; None if the source cannot be read twice.

        A resumed run recognises the source by them. Called after `identify`. Raises SourceError
        as `rows` does.
        """

    @property
    def head(self) -> Head | None:
        """The stored bytes read so far; None if the source cannot be read twice."""

    @property
    def fraction_read(self) -> float | None:
        """Part of its bytes read so far, 0.0-1.0; None if its size is unknown."""

    def rows(self) -> AsyncGenerator[list[Row], None]:
        """Yield all rows from the first, in lists of 1-`ROWS_MAX`.

        Raises SourceError if the source as a whole cannot be read, SourceChangedError if it changes
        meanwhile.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The columns (CSV) or fields (NDJSON) that hold each part of a recipient."""

    address: str = "email"
    cc: str | None = None
    bcc: str | None = None
    data: tuple[str, ...] | None = None
    """Template data; None: every field without another role."""
    tags: dict[str, str] = field(default_factory=dict)
    """Tag name to column."""
    headers: dict[str, str] = field(default_factory=dict)
    """Header name to column."""
    key: str | None = None
    rename: dict[str, str] = field(default_factory=dict)
    """Column name to the template's name for it."""
    address_as: str | None = None
    """The template's name for the first To address as written; None: not in the data."""
