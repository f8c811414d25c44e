"""No journal: for what may be forgotten when its process ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mailsluice.journal import Record, RunHeader
from mailsluice.model.bitmap import Bitmap


class NoJournal:
    """Keeps nothing, so that its memory does not grow. What is counted lives in `Standing`."""

    name = "memory"
    blocks = False

    def __init__(self) -> None:
        self._run: RunHeader | None = None

    @property
    def run(self) -> RunHeader | None:
        """The run that it belongs to; None before `begin`."""
        return self._run

    def begin(self, run: RunHeader) -> None:
        """Make it that run's."""
        self._run = run

    def commit(self, records: Sequence[Record]) -> None:
        """Forget them."""

    def replay(self, *, details: bool) -> Iterator[Record]:  # noqa: ARG002  # the protocol's
        """Nothing."""
        return iter(())

    def reopened(self) -> tuple[int, Bitmap]:
        """Nothing."""
        return 0, Bitmap()

    def close(self) -> None:
        """Nothing to release."""
