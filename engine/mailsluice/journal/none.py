"""No journal: for runs that may be forgotten when their process ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailsluice.journal import Record, RunHeader
from mailsluice.model.bitmap import Bitmap


class NoJournal:
    """Keeps nothing, so that its memory does not grow. The counts live in `Standing`."""

    name = "memory"
    blocks = False

    def __init__(self) -> None:
        self._run: RunHeader | None = None

    @property
    def run(self) -> RunHeader | None:
        """The run of this journal; None before `begin`."""
        return self._run

    def begin(self, run: RunHeader) -> None:
        """Bind the journal to `run`."""
        self._run = run

    def commit(self, records: Sequence[Record]) -> None:
        """Forget the records."""

    def replay(self, *, details: bool) -> Iterator[Record]:  # noqa: ARG002  # the protocol's
        """Yield nothing."""
        return iter(())

    def reopened(self) -> tuple[int, Bitmap]:
        """Return that there are no records."""
        return 0, Bitmap()

    def close(self) -> None:
        """Do nothing."""
