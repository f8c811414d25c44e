"""Tells a run's brake what is heard of it: first what the store has, then what comes in.

A run that carries on begins with the evidence that it had: the rows that its journal says were
attempted, and the fates of the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mailsluice.feedback import fate
from mailsluice.feedback.batch import Change
from mailsluice.feedback.brake import BOUNCED, COMPLAINED, UNRENDERED, Brake
from mailsluice.feedback.ingest import Heard
from mailsluice.feedback.store import FeedbackStore

_WATCHED = BOUNCED | COMPLAINED | UNRENDERED


class Braking:
    """One run's. Have `heard` told of events before `begin` reads the store: none is missed."""

    def __init__(self, brake: Brake, run: str, wake: Callable[[], None]) -> None:
        """`wake` is called when the brake has heard something."""
        self._brake = brake
        self._run = run
        self._wake = wake
        self._counted: dict[int, int] = {}
        """What was counted of rows that bounced, complained or failed to render."""
        self._early: list[Change] | None = []
        """What came before `begin`; None after it."""

    def heard(self, heard: Heard) -> None:
        """Take note of a batch that is in the store."""
        changes = [change for change in heard.changes if change.run == self._run]
        if self._early is not None:
            self._early += changes
        elif changes:
            self._hear(changes)
            self._wake()

    def begin(self, attempted: Iterable[int], store: FeedbackStore, now: float) -> None:
        """Count what was sent and heard before. Raises StoreError.

        `attempted` are rows in ascending order. They have as long to bounce as rows sent now.
        """
        bits: dict[int, int] = {}
        for row, mails in store.fates(self._run).items():
            for found in mails.values():
                bits[row] = bits.get(row, 0) | found.bits
        past = [(row, bits.get(row, 0)) for row in attempted]
        self._brake.replay(past, now)
        self._counted = {row: found & _WATCHED for row, found in past if found & _WATCHED}
        early, self._early = self._early or [], None
        self._hear(early)

    def _hear(self, changes: Iterable[Change]) -> None:
        for change in changes:
            known = self._counted.get(change.row, 0)
            new = change.new & ~known
            if new & _WATCHED and not change.bits & fate.EXEMPT:
                self._counted[change.row] = known | new & _WATCHED
            self._brake.hear(change.row, new, change.bits | known)
