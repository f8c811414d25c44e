"""The one place that decides: which recipients, how many, when; and what an answer leads to.

Nothing here does I/O or reads a clock: `decide(now)` says what to do, `judge` what an answer means
for each recipient, `absorb` takes note of it once it is durable. `engine.sending` does the rest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import NamedTuple

from mailsluice.dispatch import backoff, batching
from mailsluice.dispatch.adaptive_rate import Answered
from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.bisection import Bisection, Suspect
from mailsluice.dispatch.breaker import Storm
from mailsluice.dispatch.daily_quota import DailyStatistics
from mailsluice.dispatch.gate import Gate
from mailsluice.model import BATCH_RECIPIENTS_MAX, Batch, Entry, Lane, Outcome, State
from mailsluice.model.codes import QUOTA_TOO_SMALL
from mailsluice.model.hold import hold_text
from mailsluice.model.wait_reason import Reason
from mailsluice.ses import statuses
from mailsluice.ses.statuses import Action, Verdict

FRESH_RECIPIENTS_MAX = 2_048
"""Recipients taken from intake and not attempted yet, above which intake waits."""

HELD_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of all entries in memory, above which intake waits."""

RETRIES_RECIPIENTS_MAX = 10_000
"""Deferred recipients, above which nothing fresh is attempted."""

LINGER_S = 0.02
"""How long less than a batch waits for the source to fill it."""

CLOCK_GRAIN_S = 1e-6
"""A moment this close has come: timers and floats do not meet a deadline exactly."""


@dataclass(frozen=True, slots=True)
class Send:
    """Start this batch now."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start before `until` (None: before something else happens), and why."""

    until: float | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to start, and nothing is under way."""


_body_of = attrgetter("body")
_seq_of = attrgetter("seq")

Decision = Send | Wait | Done


class Ruling(NamedTuple):
    """What became of a suspect, outside a call."""

    seq: int
    outcome: Outcome


class Retry(NamedTuple):
    """A deferred recipient. Ordered by due time; `seq` breaks ties, so entries never compare."""

    due: float
    seq: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class DispatcherStatistics:
    """What the dispatcher holds at one moment."""

    fresh: int
    deferred: int
    in_flight: int
    """Its own calls under way."""
    in_flight_max: int
    """Calls at once, at most."""
    latency_s: float
    """What SES takes to answer, the mean of the last calls."""
    hold: str | None
    daily: DailyStatistics


class Dispatcher:
    """Decides for one run. See the module's docstring for the order of calls."""

    def __init__(  # noqa: PLR0913  # the run's settings, each by name
        self,
        gate: Gate,
        attempts: Attempts,
        *,
        lane: Lane = "bulk",
        in_flight_max: int | None = None,
        linger_s: float = LINGER_S,
        held_before: str | None = None,
        single: bool = False,
        random: Random | None = None,
    ) -> None:
        """`in_flight_max` is a limit on its own calls, besides the gate's on all.

        `linger_s` is how long less than a batch waits for the source to fill it.

        `single`: its recipients are single messages, each with somebody who waits for it. What is
        refused alone is guilty at once, and nothing lingers longer than from when it came.
        """
        self.pacer = gate.pacer
        self.daily = gate.daily
        self.hold: str | None = None
        self.stopping = False
        self.paused = False
        """Whether nothing is to be started until further notice."""
        self.recording = False
        """Whether intake waits for the journal."""
        self.lane = lane
        self._gate = gate
        self._place = gate.join(lane)
        self._single = single
        self._flying: dict[int, Batch] = {}
        """Started and not landed."""
        self._ruling = 0
        """Answers of which the rulings are not durable yet."""
        self._attempts = attempts
        self._flights = gate.flights
        self._in_flight_max = in_flight_max or gate.flights.most
        self._linger_s = linger_s
        self._random = random or Random()
        self._fresh: deque[Entry] = deque()
        self._fresh_since = 0.0
        self._source_ended = False
        self._retries: list[Retry] = []
        self._due: deque[Entry] = deque()
        self._bisection = Bisection(held_before, certain=single)
        self._held_bytes = 0
        self._withdrawn: set[int] = set()
        self._storm = Storm(self._random)

    # --- from intake -------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether intake may offer more."""
        return len(self._fresh) < FRESH_RECIPIENTS_MAX and self._held_bytes < HELD_BYTES_MAX

    def offer(self, entries: Sequence[Entry], now: float) -> None:
        """Take recipients that have never been attempted in this run, and are there since `now`."""
        if not self._fresh:
            self._fresh_since = now
        self._fresh.extend(entries)
        self._held_bytes += _bytes_of(entries)

    def source_ended(self) -> None:
        """Intake has nothing more to offer."""
        self._source_ended = True

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have that called when something outside has changed what `decide` would say."""
        self._place.wake = wake

    def withdraw(self, seq: int) -> None:
        """Do not attempt it any more. It must be waiting here."""
        self._withdrawn.add(seq)

    def close(self) -> None:
        """Nothing more is decided here; what was started and has not landed never will."""
        for batch in self._flying.values():
            self._flights.lost(batch.number)
            self.daily.in_flight -= batch.daily_weight
        self._flying.clear()
        self._gate.leave(self._place)

    # --- decisions ---------------------------------------------------------------------------

    def decide(self, now: float) -> Decision:  # one line a reason, in order
        """What to do now. A `Send` is under way from this moment on."""
        waiting = self._why_not(now)
        if waiting is not None:
            self._gate.rest(self._place)
            return waiting
        self._gate.want(self._place)
        if len(self._flying) >= self._in_flight_max:
            self._gate.rest(self._place)  # others may start what this one may not
            return Wait(None, self._flights.why_full)
        if not self._gate.may_start(self._place):
            return Wait(None, self._flights.why_full)
        if not self._gate.is_next(self._place):
            return Wait(None, Reason.TURN)
        ready_at, reason = self.pacer.ready_at(self._weight_wanted(now), now)
        if now + CLOCK_GRAIN_S < ready_at:
            return Wait(ready_at, reason)
        return Send(self._start(now))

    def _why_not(self, now: float) -> Decision | None:  # noqa: PLR0911  # one line a reason
        """Why nothing is to be started here, whosever turn it is; None where something is."""
        if self._withdrawn:
            self._drop_withdrawn()
        self.hold = self.hold or self._gate.hold
        if self.hold is not None or self.stopping:
            return self._drained(Reason.STOPPING)
        if self.paused:
            return Wait(None, Reason.PAUSED)
        if self._storm.narrowed and self._flying:
            return Wait(None, Reason.SILENCE)
        if self._storm.until is not None and now + CLOCK_GRAIN_S < self._storm.until:
            return Wait(self._storm.until, Reason.SILENCE)
        self._collect_due(now)
        if (waiting := self._await_work(now)) is not None:
            return waiting
        least = self._least_weight
        if self.daily.room(now) >= least:
            return None
        if self.daily.may_ever(least):
            return Wait(self.daily.goes_on_at(least, now), Reason.DAILY)
        self.hold = f"{QUOTA_TOO_SMALL}: {self.daily.smallness(least)}"
        return self._drained(Reason.STOPPING)

    def _drained(self, reason: Reason) -> Decision:
        return Wait(None, reason) if self._flying or self._ruling else Done()

    def _drop_withdrawn(self) -> None:
        """All at once: a thousand may have been withdrawn together."""
        gone, self._withdrawn = self._withdrawn, set()
        for queue in (self._fresh, self._due):
            left = [entry for entry in queue if entry.seq not in gone]
            self._held_bytes -= _bytes_of(queue) - _bytes_of(left)
            queue.clear()
            queue.extend(left)
        deferred = [each for each in self._retries if each.seq in gone]
        self._held_bytes -= _bytes_of([each.entry for each in deferred])
        self._retries = [each for each in self._retries if each.seq not in gone]
        heapq.heapify(self._retries)
        self._attempts.forget(gone)

    def _collect_due(self, now: float) -> None:
        while self._retries and self._retries[0].due <= now + CLOCK_GRAIN_S:
            self._due.append(heapq.heappop(self._retries).entry)

    def _await_work(self, now: float) -> Decision | None:
        """Why there is nothing to start yet; None where there is."""
        if self._bisection.waiting:
            return None
        size = self.pacer.size_usual(now)
        ready = self._ready
        next_due = self._retries[0].due if self._retries else None
        if ready == 0:
            if next_due is not None or not self._source_ended:
                source = Reason.ANSWERS if self._single else Reason.SOURCE
                source = Reason.JOURNAL if self.recording else source
                return Wait(next_due, Reason.BACKOFF if self._source_ended else source)
            return self._drained(Reason.ANSWERS)
        linger_until = self._fresh_since + self._linger_s
        if ready < size and not self._source_ended and now + CLOCK_GRAIN_S < linger_until:
            return Wait(linger_until, Reason.SOURCE)
        return None

    @property
    def _ready(self) -> int:
        return len(self._due) + (len(self._fresh) if self._takes_fresh else 0)

    @property
    def _least_weight(self) -> int:
        """Addresses in the smallest batch that could be next; there must be one."""
        if self._bisection.waiting:
            return self._bisection.next_weight
        return (self._due or self._fresh)[0].weight

    def _weight_wanted(self, now: float) -> int:
        """Addresses in the next batch, for which it is worth waiting."""
        least = self._least_weight
        if self._bisection.waiting:
            return least
        pacer = self.pacer
        size = pacer.size_max(now) if self._flights.scarce else pacer.size_usual(now)
        return max(least, min(self._ready, size))

    @property
    def _takes_fresh(self) -> bool:
        return len(self._retries) + len(self._due) < RETRIES_RECIPIENTS_MAX

    def _start(self, now: float) -> Batch:
        if self._bisection.waiting:
            entries = self._bisection.next(self._gate.number + 1)
        else:
            size = max(self.pacer.size_now(now), self._weight_wanted(now))
            size = int(min(size, self.daily.room(now), BATCH_RECIPIENTS_MAX))
            entries = tuple(self._take(max(1, size)))
            if not self._single:
                self._fresh_since = now
        weight = sum([entry.weight for entry in entries])
        batch = Batch(self._gate.served(self._place, weight), entries)
        self.pacer.spend(batch.weight, now)
        self.daily.in_flight += batch.daily_weight
        self._flights.number += 1
        self._flying[batch.number] = batch
        return batch

    def _take(self, size: int) -> list[Entry]:
        """One batch: what is due again first, then what is fresh."""
        if not self._due:
            return batching.take(self._fresh, size)  # as a rule
        while self._takes_fresh and self._fresh and len(self._due) < size:
            self._due.append(self._fresh.popleft())
        return batching.take(self._due, size)

    # --- answers -----------------------------------------------------------------------------

    def ready(self, batch: Batch, now: float) -> None:
        """The intent of a batch that was started is durable."""
        self._flights.ready(batch.number, now)

    def leave(self, batch: Batch, now: float) -> float:
        """It could be written: `now` if it may be, otherwise the moment at which to ask again.

        `written` is to be called when it has been, or `stay` if it is not to be any more.
        """
        moment = self.pacer.leave(batch.number, batch.weight, now)
        if moment <= now:
            self._flights.left(batch.number, now)
        else:
            self._flights.waits(batch.number, now)
        return moment

    def written(self, batch: Batch, now: float) -> None:
        """By now it has been written."""
        self.pacer.written(batch.weight, now)

    def stay(self, batch: Batch) -> None:
        """It is not to be written after all."""
        self.pacer.stay(batch.number)
        self._flights.stays(batch.number)

    def has_left(self, number: int) -> bool:
        """Whether some of that batch may have been written; asked before its answer is judged."""
        return self._flights.has_left(number)

    def judge(self, batch: Batch, verdicts: Sequence[Verdict], now: float) -> list[Outcome]:
        """SES has answered, or never will: what that means for each entry of the batch."""
        self._flights.answered(batch.number, now)
        if self._is_heavy(batch, now):
            seq, rate = batch.entries[0].seq, self.pacer.rate(now)
            return [self._attempts.outcome_of_heavy(seq, batch.weight, rate, verdicts[0])]
        return self._attempts.outcomes(batch.entries, verdicts)

    def _is_heavy(self, batch: Batch, now: float) -> bool:
        """Whether it is a recipient who alone is more than a second of the rate."""
        return len(batch.entries) == 1 and batch.weight > max(1.0, self.pacer.rate(now))

    def absorb(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome], now: float
    ) -> list[Ruling]:
        """Take note of outcomes that are durable now: requeue, slow down, narrow, hold.

        Returns the suspects that this answer proved guilty, if any: that is to be journalled, and
        then `ruled` to be called.
        """
        self._note_pace(batch, verdicts, now)
        self._storm.note(batch.number, verdicts[0], self._gate.number, now)
        if verdicts[0].rule.action is Action.BISECT:
            guilty = self._bisection.refused(batch.number, batch.entries, verdicts[0])
            self._hold_on(self._bisection.mailing_at_fault)
            if len(batch.entries) == 1:
                # A suspect waits for evidence, which may be what intake has still to offer.
                self._held_bytes -= len(batch.entries[0].body)
        elif any(verdict.rule.action is Action.SENT for verdict in verdicts):
            self._gate.refusal = None
            guilty = self._bisection.accepted(batch.number)
        else:
            guilty = self._bisection.departed(batch.number)
        self._absorb_entries(batch, verdicts, outcomes, now)
        self._ruling += bool(guilty)
        return self._rulings(guilty)

    def ruled(self) -> None:
        """The rulings of one answer are durable."""
        self._ruling -= 1

    def given_up(self, seq: int) -> State:
        """What a recipient has become of which nothing more is attempted."""
        return self._attempts.given_up(seq, State.FAILED)

    def _note_pace(self, batch: Batch, verdicts: Sequence[Verdict], now: float) -> None:
        """What the answer says of SES's pace, of the rate and of the day."""
        left_at = self._gate.landed(self._place, batch.number, now)
        del self._flying[batch.number]
        self.daily.in_flight -= batch.daily_weight
        taken = _part(batch, verdicts, (Action.SENT, Action.DOUBT))
        throttled = _part(batch, verdicts, (Action.THROTTLE,))
        self.daily.accepted(taken.daily_weight, now)
        self.pacer.answered(
            # That one recipient is too many at once says nothing about the rate.
            Answered(
                batch.number,
                taken.weight,
                0 if self._is_heavy(batch, now) else throttled.weight,
                left_at,
            ),
            of_calls=statuses.limits_calls(verdicts[0]),
            latest=self._gate.number,
            now=now,
        )

    def rule_on_suspects(self) -> list[Ruling]:
        """Nothing else is left: settle who was to blame for refused calls. May set `hold`."""
        if self.stopping or self.hold is not None:
            return []  # they stay pending, and are tried again in the next process
        guilty = self._bisection.rule()
        self._hold_on(self._bisection.mailing_at_fault)
        return self._rulings(guilty)

    def _rulings(self, guilty: list[Suspect]) -> list[Ruling]:
        rulings = []
        for (seq, *_), verdict, _ in guilty:
            state = self._attempts.given_up(seq, State.REJECTED)
            rulings.append(Ruling(seq, Outcome(state, verdict.status, None, verdict.error)))
            self._attempts.forget([seq])
        return rulings

    def _absorb_entries(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome], now: float
    ) -> None:
        pending = State.PENDING
        pairs = zip(batch.entries, outcomes, strict=True)
        settled = [entry for entry, outcome in pairs if outcome.state is not pending]
        self._held_bytes -= _bytes_of(settled)
        self._attempts.forget(map(_seq_of, settled))
        if len(settled) == len(batch.entries):
            return
        for entry, verdict, outcome in zip(batch.entries, verdicts, outcomes, strict=True):
            if outcome.state is pending:
                self._requeue(entry, verdict, outcome, now)

    def _requeue(self, entry: Entry, verdict: Verdict, outcome: Outcome, now: float) -> None:
        burned = self._attempts.deferred(entry.seq, outcome)
        match verdict.rule.action:
            case Action.BISECT:
                pass  # the bisection has it
            case Action.HOLD:
                self._hold_on(verdict)
                if not verdict.rule.of_mailing:
                    self._gate.refusal = self.hold
            case Action.WAIT_DAILY:
                self.daily.refused(now)
                self._due.append(entry)
            case Action.RECONNECT:
                self._due.append(entry)
            case Action.THROTTLE if not outcome.burned:
                delay_s = backoff.THROTTLE_BACKOFF.delay_s(1, self._random)
                heapq.heappush(self._retries, Retry(now + delay_s, entry.seq, entry))
            case _:
                delay_s = backoff.RECIPIENT_BACKOFF.delay_s(burned, self._random)
                heapq.heappush(self._retries, Retry(now + delay_s, entry.seq, entry))

    def _hold_on(self, verdict: Verdict | None) -> None:
        if verdict is not None and self.hold is None:
            self.hold = hold_text(verdict.status, verdict.error)

    @property
    def complete(self) -> bool:
        """Whether every recipient of the source has its last outcome."""
        return self._source_ended and self.idle and not self._bisection.open

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be attempted, and nothing is under way."""
        left = self._fresh or self._retries or self._due or self._bisection.waiting
        return not (left or self._flying or self._ruling)

    @property
    def in_flight(self) -> int:
        """Its calls under way."""
        return len(self._flying)

    def statistics(self, now: float) -> DispatcherStatistics:
        """What is held at this moment."""
        return DispatcherStatistics(
            fresh=len(self._fresh),
            deferred=len(self._retries) + len(self._due),
            in_flight=self.in_flight,
            in_flight_max=min(self._in_flight_max, self._flights.most),
            latency_s=self._flights.latency_s,
            hold=self.hold,
            daily=self.daily.statistics(now, self._least_weight if self._ready else 1),
        )


def _part(batch: Batch, verdicts: Sequence[Verdict], actions: tuple[Action, ...]) -> Batch:
    """What of a batch was answered so."""
    if len({verdict.rule for verdict in verdicts}) == 1:
        return batch if verdicts[0].rule.action in actions else Batch(batch.number, ())
    pairs = zip(batch.entries, verdicts, strict=True)
    entries = tuple(entry for entry, verdict in pairs if verdict.rule.action in actions)
    return Batch(batch.number, entries)


def _bytes_of(entries: Iterable[Entry]) -> int:
    return sum(map(len, map(_body_of, entries)))
