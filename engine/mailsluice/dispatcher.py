"""The one place that decides: which recipients, how many, when; and what an answer leads to.

Nothing here does I/O or reads a clock: `decide(now)` says what to do, `judge` what an answer means
for each recipient, `absorb` takes note of it once it is durable. `pipeline` does the rest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, NamedTuple

from mailsluice import batching, retry
from mailsluice.bisection import Bisection, Suspect
from mailsluice.model import Batch, Entry, Outcome, State
from mailsluice.pacing import Pacer
from mailsluice.statuses import Action, Rule, Verdict, hold_text
from mailsluice.storm import Storm

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

HEAVY_RULE = Rule(Action.DEFER)
"""For a throttled recipient that alone is more than a second of the rate."""

InDoubt = Literal["hold", "resend"]


@dataclass(frozen=True, slots=True)
class Send:
    """Start this batch now."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to start before `until` (None: before something else happens), and why."""

    until: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to start, and nothing is under way."""


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
    narrowed: bool
    hold: str | None
    daily_room: float
    """Recipients that the rolling 24 hours still have room for."""


class Dispatcher:
    """Decides for one run. See the module's docstring for the order of calls."""

    def __init__(  # noqa: PLR0913  # the run's settings, each by name
        self,
        pacer: Pacer,
        *,
        in_flight_max: int,
        max_attempts: int,
        in_doubt: InDoubt,
        first_number: int = 1,
        burned: dict[int, int] | None = None,
        doubted: Iterable[int] = (),
        held_before: str | None = None,
        random: Random | None = None,
    ) -> None:
        self.pacer = pacer
        self.hold: str | None = None
        self.stopping = False
        self.daily_room = float("inf")
        """Recipients that the rolling 24 hours have room for; whoever asks GetAccount sets it."""
        self.in_flight_weight = 0
        """Addresses in the calls under way."""
        self._in_flight_max = in_flight_max
        self._max_attempts = max_attempts
        self._in_doubt: InDoubt = in_doubt
        self._number = first_number - 1
        self._burned = dict(burned or {})
        self._doubted = set(doubted)
        self._random = random or Random()
        self._fresh: deque[Entry] = deque()
        self._fresh_since = 0.0
        self._source_ended = False
        self._retries: list[Retry] = []
        self._due: deque[Entry] = deque()
        self._bisection = Bisection(held_before)
        self._in_flight = 0
        self._held_bytes = 0
        self._storm = Storm(self._random)

    # --- from intake -------------------------------------------------------------------------

    @property
    def wants_more(self) -> bool:
        """Whether intake may offer more."""
        return len(self._fresh) < FRESH_RECIPIENTS_MAX and self._held_bytes < HELD_BYTES_MAX

    def offer(self, entries: Iterable[Entry], now: float) -> None:
        """Take recipients that have never been attempted in this run."""
        if not self._fresh:
            self._fresh_since = now
        for entry in entries:
            self._fresh.append(entry)
            self._held_bytes += len(entry.body)

    def source_ended(self) -> None:
        """Intake has nothing more to offer."""
        self._source_ended = True

    # --- decisions ---------------------------------------------------------------------------

    def decide(self, now: float) -> Decision:  # noqa: PLR0911  # one line a reason, in order
        """What to do now. A `Send` is under way from this moment on."""
        if self.hold is not None or self.stopping:
            return self._drained("the calls in flight end")
        if self._in_flight >= (1 if self._storm.narrowed else self._in_flight_max):
            return Wait(None, "the in-flight limit")
        if self._storm.until is not None and now + CLOCK_GRAIN_S < self._storm.until:
            return Wait(self._storm.until, "SES does not answer")
        if self.daily_room < 1:
            return Wait(None, "the daily quota")
        self._collect_due(now)
        waiting = self._await_work(now)
        if waiting is not None:
            return waiting
        if now + CLOCK_GRAIN_S < self.pacer.ready_at:
            return Wait(self.pacer.ready_at, "the rate")
        return Send(self._start(now))

    def _drained(self, reason: str) -> Decision:
        return Wait(None, reason) if self._in_flight else Done()

    def _collect_due(self, now: float) -> None:
        while self._retries and self._retries[0].due <= now + CLOCK_GRAIN_S:
            self._due.append(heapq.heappop(self._retries).entry)

    def _await_work(self, now: float) -> Decision | None:
        """Why there is nothing to start yet; None where there is."""
        if self._bisection.waiting:
            return None
        size = batching.size_for(self.pacer.rate(now))
        ready = len(self._due) + (len(self._fresh) if self._takes_fresh else 0)
        next_due = self._retries[0].due if self._retries else None
        if ready == 0:
            if next_due is not None or not self._source_ended:
                return Wait(next_due, "back-off" if self._source_ended else "the source")
            return self._drained("the last answers")
        linger_until = self._fresh_since + LINGER_S
        if ready < size and not self._source_ended and now + CLOCK_GRAIN_S < linger_until:
            return Wait(linger_until, "the source")
        return None

    @property
    def _takes_fresh(self) -> bool:
        return len(self._retries) + len(self._due) < RETRIES_RECIPIENTS_MAX

    def _start(self, now: float) -> Batch:
        self._number += 1
        if self._bisection.waiting:
            entries = self._bisection.next(self._number)
        else:
            size = batching.size_for(self.pacer.rate(now))
            entries = tuple(self._take(size))
            self._fresh_since = now
        batch = Batch(self._number, entries)
        weight = batch.weight
        self.pacer.spend(weight, now)
        self.daily_room -= weight
        self._in_flight += 1
        self.in_flight_weight += weight
        return batch

    def _take(self, size: int) -> list[Entry]:
        """One batch: what is due again first, then what is fresh."""
        while self._takes_fresh and self._fresh and len(self._due) < size:
            self._due.append(self._fresh.popleft())
        return batching.take(self._due, size)

    # --- answers -----------------------------------------------------------------------------

    def judge(self, batch: Batch, verdicts: Sequence[Verdict]) -> list[Outcome]:
        """What the answer means for each entry of the batch. Changes nothing."""
        if len(batch.entries) == 1 and batch.weight > max(1.0, self.pacer.ceiling_per_s):
            return [self._outcome_of_heavy(batch.entries[0], verdicts[0])]
        return [
            self._outcome(entry.seq, verdict)
            for entry, verdict in zip(batch.entries, verdicts, strict=True)
        ]

    def _outcome_of_heavy(self, entry: Entry, verdict: Verdict) -> Outcome:
        """As `_outcome`, for a recipient with more addresses than a second of the rate.

        SES may let it through, or throttle it for ever: then a throttle does say something about
        the recipient, and burns an attempt.
        """
        if verdict.rule.action is not Action.THROTTLE:
            return self._outcome(entry.seq, verdict)
        outcome = self._outcome(entry.seq, verdict._replace(rule=HEAVY_RULE))
        why = f"{entry.weight} addresses at once, at {self.pacer.ceiling_per_s:g} a second"
        return outcome._replace(error=f"{verdict.error or verdict.status} ({why})")

    def _outcome(self, seq: int, verdict: Verdict) -> Outcome:
        rule, status, message_id, error = verdict
        match rule.action:
            case Action.SENT:
                return Outcome(State.SENT, status, message_id, error)
            case Action.REJECT:
                return Outcome(self._given_up(seq, State.REJECTED), status, None, error)
            case Action.FAIL:
                return Outcome(self._given_up(seq, State.FAILED), status, None, error)
            case Action.DEFER:
                spent = retry.exhausted(rule, self._burned.get(seq, 0) + 1, self._max_attempts)
                state = self._given_up(seq, State.FAILED) if spent else State.PENDING
                return Outcome(state, status, None, error, burned=True)
            case Action.DOUBT:
                spent = retry.exhausted(rule, self._burned.get(seq, 0) + 1, self._max_attempts)
                resend = self._in_doubt == "resend" and not spent
                state = State.PENDING if resend else State.IN_DOUBT
                return Outcome(state, status, message_id, error, burned=True, doubted=True)
            case _:
                return Outcome(State.PENDING, status, None, error)

    def _given_up(self, seq: int, state: State) -> State:
        """Nobody can say "not delivered" of a recipient that SES may have taken before."""
        return State.IN_DOUBT if seq in self._doubted else state

    def absorb(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome], now: float
    ) -> list[Ruling]:
        """Take note of outcomes that are durable now: requeue, slow down, narrow, hold.

        Returns the suspects that this answer proved guilty; that is to be journalled.
        """
        self._in_flight -= 1
        self.in_flight_weight -= batch.weight
        self._storm.note(batch.number, verdicts[0], self._number, now)
        if verdicts[0].rule.action is Action.BISECT:
            guilty = self._bisection.refused(batch.number, batch.entries, verdicts[0])
            self._hold_on(self._bisection.mailing_at_fault)
            if len(batch.entries) == 1:
                # A suspect waits for evidence, which may be what intake has still to offer.
                self._held_bytes -= len(batch.entries[0].body)
        elif any(verdict.rule.action is Action.SENT for verdict in verdicts):
            guilty = self._bisection.accepted(batch.number)
        else:
            guilty = self._bisection.departed(batch.number)
        for entry, verdict, outcome in zip(batch.entries, verdicts, outcomes, strict=True):
            self._absorb_entry(entry, verdict, outcome, now)
        throttled = sum(verdict.rule.action is Action.THROTTLE for verdict in verdicts)
        if throttled:
            self.pacer.throttled(batch.number, throttled / len(verdicts), self._number, now)
        return self._rulings(guilty)

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
            state = self._given_up(seq, State.REJECTED)
            rulings.append(Ruling(seq, Outcome(state, verdict.status, None, verdict.error)))
            self._burned.pop(seq, None)
            self._doubted.discard(seq)
        return rulings

    def _absorb_entry(self, entry: Entry, verdict: Verdict, outcome: Outcome, now: float) -> None:
        if outcome.state is not State.PENDING:
            self._forget(entry)
            return
        if outcome.doubted:
            self._doubted.add(entry.seq)
        if outcome.burned:
            self._burned[entry.seq] = self._burned.get(entry.seq, 0) + 1
        match verdict.rule.action:
            case Action.BISECT:
                pass  # the bisection has it
            case Action.HOLD:
                self._hold_on(verdict)
            case Action.WAIT_DAILY:
                self.daily_room = 0
                self._due.append(entry)
            case Action.RECONNECT:
                self._due.append(entry)
            case Action.THROTTLE if not outcome.burned:
                delay_s = retry.THROTTLE_BACKOFF.delay_s(1, self._random)
                heapq.heappush(self._retries, Retry(now + delay_s, entry.seq, entry))
            case _:
                delay_s = retry.RECIPIENT_BACKOFF.delay_s(self._burned[entry.seq], self._random)
                heapq.heappush(self._retries, Retry(now + delay_s, entry.seq, entry))

    def _forget(self, entry: Entry) -> None:
        self._held_bytes -= len(entry.body)
        self._burned.pop(entry.seq, None)
        self._doubted.discard(entry.seq)

    def _hold_on(self, verdict: Verdict | None) -> None:
        if verdict is not None and self.hold is None:
            self.hold = hold_text(verdict.status, verdict.error)

    @property
    def complete(self) -> bool:
        """Whether every recipient of the source has its last outcome."""
        left = self._fresh or self._retries or self._due or self._in_flight
        return self._source_ended and not left and not self._bisection.open

    def statistics(self) -> DispatcherStatistics:
        """What is held at this moment."""
        return DispatcherStatistics(
            fresh=len(self._fresh),
            deferred=len(self._retries) + len(self._due),
            in_flight=self._in_flight,
            narrowed=self._storm.narrowed,
            hold=self.hold,
            daily_room=self.daily_room,
        )
