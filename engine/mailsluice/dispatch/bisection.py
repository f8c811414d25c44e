"""Which entries are to blame for a refused call: its batch is halved until they stand alone.

SES answers 400 to a whole call and does not say which entry is wrong. So the halves are tried
again, and an entry that is refused alone is a suspect. Suspects are judged by these cases:

1. Another part of the same batch was accepted: the mailing is in order, so they are to blame.
2. Every entry of the batch was refused alone, each with its own text: they are to blame.
3. Otherwise they wait for evidence. If a call that started later is accepted, they are to blame.
   Too many suspects with one text, or nothing else left to try, point at the mailing: the run is
   held.
4. The run was held before for the same reason, and again nothing else is left: they are to blame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from mailsluice.dispatch import batching
from mailsluice.model import BATCH_RECIPIENTS_MAX, Entry
from mailsluice.model.hold import Hold
from mailsluice.ses.statuses import Verdict

SUSPECTS_MAX = BATCH_RECIPIENTS_MAX
"""Suspects with one text, without an accepted call in between, that point at the mailing."""


class Suspect(NamedTuple):
    """An entry that SES refused when it stood alone."""

    entry: Entry
    verdict: Verdict
    number: int
    """The batch in which it stood alone."""


@dataclass(slots=True)
class _Group:
    """What is known of one refused batch so far."""

    parts: int = 1
    """Parts of the batch that have no answer yet."""
    accepted: bool = False
    suspects: list[Suspect] = field(default_factory=list)


class Bisection:
    """The halves still to be tried, and the entries under suspicion."""

    def __init__(self, held_before: Hold | None = None, *, blame_at_once: bool = False) -> None:
        """`held_before` is the last hold of a run that has sent something.

        `blame_at_once`: an entry that is refused alone is to blame, whatever the others' answers.
        """
        self._blame_at_once = blame_at_once
        self.mailing_at_fault: Verdict | None = None
        """SES's text, once the mailing is known to be at fault; else None."""
        self._halves: list[tuple[tuple[Entry, ...], _Group]] = []
        self._under_way: dict[int, _Group] = {}
        self._suspects: list[Suspect] = []
        self._held_before = held_before
        self._accepted_ever = False

    @property
    def waiting(self) -> bool:
        """True if a half is waiting to be tried."""
        return bool(self._halves)

    @property
    def open(self) -> bool:
        """True if a half or a suspect is left."""
        return bool(self._halves or self._under_way or self._suspects)

    @property
    def next_weight(self) -> int:
        """Addresses in the half to be tried next; there must be one waiting."""
        return sum(entry.weight for entry in self._halves[-1][0])

    def next(self, number: int) -> tuple[Entry, ...]:
        """Remove the half to be tried next, as batch `number`; there must be one waiting."""
        entries, group = self._halves.pop()
        self._under_way[number] = group
        return entries

    def refused(self, number: int, entries: tuple[Entry, ...], verdict: Verdict) -> list[Suspect]:
        """Halve a batch that SES refused as a whole. Return the culprits now known."""
        group = self._under_way.pop(number, None) or _Group()
        if len(entries) > 1:
            group.parts += 1
            # A stack: one batch is cut down to its bad entries before the next one is touched, so
            # that a mailing at fault shows after a hundred calls and not after thousands.
            self._halves += [(half, group) for half in reversed(batching.halves(entries))]
            return []
        group.suspects.append(Suspect(entries[0], verdict, number))
        return self._answered(group)

    def accepted(self, number: int) -> list[Suspect]:
        """Take note that SES accepted this batch. Return the culprits now known."""
        self._accepted_ever = True
        culprits = [suspect for suspect in self._suspects if suspect.number < number]
        self._suspects = [suspect for suspect in self._suspects if suspect.number >= number]
        group = self._under_way.pop(number, None)
        if group is not None:
            group.accepted = True
            culprits += self._answered(group)
        return culprits

    def departed(self, number: int) -> list[Suspect]:
        """Take note that the batch was throttled or lost. Return the culprits now known."""
        group = self._under_way.pop(number, None)
        return [] if group is None else self._answered(group)

    def settle_suspects(self) -> list[Suspect]:
        """Return the suspects as culprits, or blame the mailing, when nothing else is left."""
        suspects, self._suspects = self._suspects, []
        if not suspects or not _alike(suspects) or (len(suspects) == 1 and self._accepted_ever):
            return suspects
        verdict = suspects[0].verdict
        if str(Hold.answered(verdict.status, verdict.error)) == str(self._held_before):
            return suspects
        self.mailing_at_fault = verdict
        return []

    def _answered(self, group: _Group) -> list[Suspect]:
        group.parts -= 1
        suspects = group.suspects
        if (
            group.accepted
            or self._blame_at_once
            or (not group.parts and len(suspects) > 1 and not _alike(suspects))
        ):
            group.suspects = []
            return suspects
        if not group.parts:
            self._suspects += suspects
            if len(self._suspects) >= SUSPECTS_MAX and _alike(self._suspects):
                self.mailing_at_fault = self._suspects[0].verdict
        return []


def _alike(suspects: list[Suspect]) -> bool:
    return len({(suspect.verdict.status, suspect.verdict.error) for suspect in suspects}) == 1
