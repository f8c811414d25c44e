"""The one place that decides: which recipients, how many, when; and what an answer leads to.

Nothing here does I/O or reads a clock. `decide(now)` says what to do, `judge` what an answer means
for each recipient, and `absorb` takes note of outcomes after they are durable. Between `decide` and
`judge` a batch is in `calls`; recipients that wait are in `backlog`. `engine.sending` does the I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import NamedTuple

from mailsluice.dispatch import backoff
from mailsluice.dispatch.adaptive_rate import Answered
from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.backlog import CLOCK_GRAIN_S, LINGER_S, Backlog
from mailsluice.dispatch.bisection import Bisection, Suspect
from mailsluice.dispatch.breaker import CircuitBreaker
from mailsluice.dispatch.calls import Calls
from mailsluice.dispatch.daily_quota import DailyStatistics
from mailsluice.dispatch.gate import Gate
from mailsluice.feedback.brake import LOOK_S, Brake
from mailsluice.feedback.ramp import UNLIMITED
from mailsluice.model import BATCH_RECIPIENTS_MAX, Batch, Entry, Lane, Outcome, State
from mailsluice.model.codes import QUOTA_TOO_SMALL
from mailsluice.model.hold import Hold
from mailsluice.model.wait_reason import Reason
from mailsluice.ses import statuses
from mailsluice.ses.statuses import Action, Verdict

_seq_of = attrgetter("seq")


@dataclass(frozen=True, slots=True)
class Send:
    """Start this batch now."""

    batch: Batch


@dataclass(frozen=True, slots=True)
class Wait:
    """Start nothing before `until` (None: before something else happens), for this reason."""

    until: float | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to start, and nothing is under way."""


Decision = Send | Wait | Done


class Blame(NamedTuple):
    """The outcome of an entry that was to blame for a refused call."""

    seq: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class DispatcherStatistics:
    """What the dispatcher holds at one moment."""

    fresh: int
    deferred: int
    in_flight: int
    """This dispatcher's calls under way."""
    in_flight_max: int
    """Calls at once, at most."""
    latency_s: float
    """Mean time that SES took to answer the last calls."""
    hold: Hold | None
    daily: DailyStatistics


class Dispatcher:
    """Decides for one run, or for the messages of one mailing.

    For each batch, in this order: `decide`, the steps of `calls`, `judge`, `absorb`, and
    `blames_recorded` if `absorb` returned any.
    """

    def __init__(  # noqa: PLR0913  # the run's settings, each by name
        self,
        gate: Gate,
        attempts: Attempts,
        *,
        lane: Lane = "bulk",
        in_flight_max: int | None = None,
        linger_s: float = LINGER_S,
        held_before: Hold | None = None,
        one_caller_each: bool = False,
        random: Random | None = None,
        brake: Brake | None = None,
    ) -> None:
        """`in_flight_max` limits this dispatcher's calls, besides the gate's limit on all.

        `linger_s` is how long an incomplete batch waits for the source to fill it.

        `one_caller_each`: the recipients are single messages, and a caller waits for each. An entry
        that is refused alone is blamed at once, and `linger_s` runs from when a message came.

        `brake` holds the run by what SES's events say; whoever tells it of them wakes the caller.
        """
        self.pacer = gate.pacer
        self.daily = gate.daily
        self.backlog = Backlog(linger_s=linger_s, one_caller_each=one_caller_each)
        self._gate = gate
        self._member = gate.join(lane)
        self.calls = Calls(gate, self._member, in_flight_max)
        self._attempts = attempts
        self._bisection = Bisection(held_before, blame_at_once=one_caller_each)
        self._random = random or Random()
        self._breaker = CircuitBreaker(self._random)
        self._brake = brake
        self._hold: Hold | None = None
        self._stopping = False
        self._paused = False
        self._unrecorded = 0
        """Answers whose blames are not durable yet."""

    @property
    def lane(self) -> Lane:
        """The lane of its calls."""
        return self._member.lane

    @property
    def hold(self) -> Hold | None:
        """The cause, outside the recipients, for which nothing more is started, if any."""
        return self._hold

    # --- from outside ------------------------------------------------------------------------

    def stop(self) -> None:
        """Start nothing more; what is pending stays pending."""
        self._stopping = True

    def pause(self, *, paused: bool) -> None:
        """Start nothing while `paused`."""
        self._paused = paused

    def hold_for(self, hold: Hold) -> None:
        """Start nothing more for this cause, which takes the place of an earlier one."""
        self._hold = hold

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever another stream has changed what `decide` would say."""
        self._member.wake = wake

    def close(self) -> None:
        """End: decide nothing more, and forget the calls that have not landed."""
        self.calls.abandon()
        self._gate.leave(self._member)

    # --- decisions ---------------------------------------------------------------------------

    def decide(self, now: float) -> Decision:
        """Decide what to do now. A `Send` is under way from this moment on."""
        waiting = self._why_not(now)
        if waiting is not None:
            self._gate.deactivate(self._member)
            return waiting
        self._gate.activate(self._member)
        if self.calls.are_full:
            self._gate.deactivate(self._member)  # others may start what this one may not
            return Wait(None, self._gate.in_flight.why_full)
        if not self._gate.may_start(self._member):
            return Wait(None, self._gate.in_flight.why_full)
        if not self._gate.is_next(self._member):
            return Wait(None, Reason.TURN)
        ready_at, reason = self.pacer.ready_at(self._weight_wanted(now), now)
        if now + CLOCK_GRAIN_S < ready_at:
            return Wait(ready_at, reason)
        return Send(self._start(now))

    def _why_not(self, now: float) -> Decision | None:  # noqa: PLR0911  # one line per reason
        """Return why this stream starts nothing, even if it were its turn; None otherwise."""
        if withdrawn := self.backlog.drop_withdrawn():
            self._attempts.forget(withdrawn)
        self._hold = self._hold or self._gate.hold
        if self._hold is not None or self._stopping:
            return self._drained(Reason.STOPPING)
        if self._paused:
            return Wait(None, Reason.PAUSED)
        if self._breaker.is_open and self.calls.under_way:
            return Wait(None, Reason.SILENCE)
        if self._breaker.until is not None and now + CLOCK_GRAIN_S < self._breaker.until:
            return Wait(self._breaker.until, Reason.SILENCE)
        self.backlog.collect_due(now)
        waiting = self._await_work(now) or self._brake_on(now)
        if waiting is not None:
            return waiting
        least = self._least_weight
        if self.daily.room(now) >= least:
            return None
        if self.daily.may_ever(least):
            return Wait(self.daily.goes_on_at(least, now), Reason.DAILY)
        self._hold = Hold(QUOTA_TOO_SMALL, self.daily.smallness(least))
        return self._drained(Reason.STOPPING)

    def _brake_on(self, now: float) -> Decision | None:
        """Return why the brake lets nothing be sent now; None if it lets some. May set `hold`."""
        if self._brake is None or self._brake.room(now):
            return None
        self._hold = self._brake.stop(now)
        if self._hold is not None:
            return self._drained(Reason.STOPPING)
        return Wait(now + LOOK_S, Reason.FEEDBACK)

    def _drained(self, reason: Reason) -> Decision:
        return Wait(None, reason) if self.calls.under_way or self._unrecorded else Done()

    def _await_work(self, now: float) -> Decision | None:
        """Return why there is nothing to start yet; None if there is something."""
        if self._bisection.waiting:
            return None
        backlog = self.backlog
        ready = backlog.ready
        if ready == 0:
            if backlog.next_due is None and backlog.source_has_ended:
                return self._drained(Reason.ANSWERS)
            return Wait(backlog.next_due, self._why_empty)
        size = self.pacer.size_usual(now)
        linger_until = backlog.linger_until
        if ready < size and not backlog.source_has_ended and now + CLOCK_GRAIN_S < linger_until:
            return Wait(linger_until, Reason.SOURCE)
        return None

    @property
    def _why_empty(self) -> Reason:
        """Return why the backlog has nothing that may be attempted now."""
        if self.backlog.source_has_ended:
            return Reason.BACKOFF
        if self.backlog.is_recording:
            return Reason.JOURNAL
        return Reason.ANSWERS if self.backlog.one_caller_each else Reason.SOURCE

    @property
    def _least_weight(self) -> int:
        """Return the addresses in the smallest batch that could be next; there must be one."""
        if self._bisection.waiting:
            return self._bisection.next_weight
        return self.backlog.least_weight

    def _weight_wanted(self, now: float) -> int:
        """Return the weight, in addresses, that the next batch should wait for."""
        least = self._least_weight
        if self._bisection.waiting:
            return least
        pacer = self.pacer
        is_scarce = self._gate.in_flight.scarce
        size = pacer.size_max(now) if is_scarce else pacer.size_usual(now)
        return max(least, min(self.backlog.ready, size))

    def _start(self, now: float) -> Batch:
        if self._bisection.waiting:
            entries = self._bisection.next(self._gate.number + 1)
        else:
            size = max(self.pacer.size_now(now), self._weight_wanted(now))
            room = UNLIMITED if self._brake is None else self._brake.room(now)
            size = int(min(size, self.daily.room(now), BATCH_RECIPIENTS_MAX, room))
            entries = tuple(self.backlog.take(max(1, size), now))
            if self._brake is not None:
                self._brake.start(entries, now)
        weight = sum([entry.weight for entry in entries])
        batch = Batch(self._gate.charge(self._member, weight), entries)
        self.calls.start(batch, now)
        return batch

    # --- answers -----------------------------------------------------------------------------

    def judge(self, batch: Batch, verdicts: Sequence[Verdict], now: float) -> list[Outcome]:
        """Return the outcome for each entry of the batch, by SES's answer or its absence."""
        self.calls.answered(batch, now)
        if self._is_heavy(batch, now):
            seq, rate = batch.entries[0].seq, self.pacer.rate(now)
            return [self._attempts.outcome_of_heavy(seq, batch.weight, rate, verdicts[0])]
        return self._attempts.outcomes(batch.entries, verdicts)

    def _is_heavy(self, batch: Batch, now: float) -> bool:
        """Return True if the batch is one recipient with more addresses than one second's rate."""
        return len(batch.entries) == 1 and batch.weight > max(1.0, self.pacer.rate(now))

    def absorb(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome], now: float
    ) -> list[Blame]:
        """Take note of outcomes that are durable now: requeue, slow down, open the breaker, hold.

        Returns the suspects that this answer proves to blame, if any: record them, and then call
        `blames_recorded`.
        """
        self._note_pace(batch, verdicts, now)
        self._breaker.note(batch.number, verdicts[0], self._gate.number, now)
        if verdicts[0].rule.action is Action.BISECT:
            culprits = self._bisection.refused(batch.number, batch.entries, verdicts[0])
            self._hold_on(self._bisection.mailing_at_fault)
            if len(batch.entries) == 1:
                # A suspect waits for evidence, which may be what intake has still to offer.
                self.backlog.release(batch.entries)
        elif any(verdict.rule.action is Action.SENT for verdict in verdicts):
            self._gate.refusal = None
            culprits = self._bisection.accepted(batch.number)
        else:
            culprits = self._bisection.departed(batch.number)
        self._absorb_entries(batch, verdicts, outcomes, now)
        self._unrecorded += bool(culprits)
        return self._blames(culprits)

    def blames_recorded(self) -> None:
        """Note that the blames of one answer are durable."""
        self._unrecorded -= 1

    def abandoned_state(self, seq: int, state: State = State.FAILED) -> State:
        """Return the state of a recipient that is not attempted any more: this, or in doubt."""
        return self._attempts.given_up(seq, state)

    def keep_back(
        self, batch: Batch, seqs: Collection[int], now: float
    ) -> tuple[Batch, list[Blame]]:
        """Take recipients, for good, out of a batch that has no intent yet. Return what is left.

        If nobody is left, its call has ended, which may prove suspects to blame: record them, and
        then call `blames_recorded`.
        """
        gone = [entry for entry in batch.entries if entry.seq in seqs]
        left = batch.without(seqs)
        self.calls.lighten(left)
        self.backlog.release(gone)
        self._attempts.forget(map(_seq_of, gone))
        if left.entries:
            return left, []
        self.calls.land(left, now)
        culprits = self._bisection.departed(batch.number)
        self._unrecorded += bool(culprits)
        return left, self._blames(culprits)

    def _note_pace(self, batch: Batch, verdicts: Sequence[Verdict], now: float) -> None:
        """Learn from an answer about SES's pace, the rate and the day."""
        left_at = self.calls.land(batch, now)
        taken = _part(batch, verdicts, (Action.SENT, Action.DOUBT))
        throttled = _part(batch, verdicts, (Action.THROTTLE,))
        self.daily.accepted(taken.daily_weight, now)
        self.pacer.answered(
            # One recipient that is too many at once says nothing about the rate.
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

    def settle_suspects(self) -> list[Blame]:
        """Decide, when nothing else is left, which suspects are to blame. May set `hold`."""
        if self._stopping or self._hold is not None:
            return []  # they stay pending, and are tried again in the next process
        culprits = self._bisection.settle_suspects()
        self._hold_on(self._bisection.mailing_at_fault)
        return self._blames(culprits)

    def _blames(self, culprits: list[Suspect]) -> list[Blame]:
        blames = []
        for (seq, *_), verdict, _ in culprits:
            state = self._attempts.given_up(seq, State.REJECTED)
            blames.append(Blame(seq, Outcome(state, verdict.status, None, verdict.error)))
            self._attempts.forget([seq])
        return blames

    def _absorb_entries(
        self, batch: Batch, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome], now: float
    ) -> None:
        pending = State.PENDING
        pairs = zip(batch.entries, outcomes, strict=True)
        settled = [entry for entry, outcome in pairs if outcome.state is not pending]
        self.backlog.release(settled)
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
                    self._gate.refusal = self._hold
            case Action.WAIT_DAILY:
                self.daily.refused(now)
                self.backlog.retry_now(entry)
            case Action.RECONNECT:
                self.backlog.retry_now(entry)
            case Action.THROTTLE if not outcome.burned:
                delay_s = backoff.THROTTLE_BACKOFF.delay_s(1, self._random)
                self.backlog.retry_at(now + delay_s, entry)
            case _:
                delay_s = backoff.RECIPIENT_BACKOFF.delay_s(burned, self._random)
                self.backlog.retry_at(now + delay_s, entry)

    def _hold_on(self, verdict: Verdict | None) -> None:
        if verdict is not None and self._hold is None:
            self._hold = Hold.answered(verdict.status, verdict.error)

    # --- for its caller ----------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """True if every recipient of the source has its final outcome."""
        return self.backlog.source_has_ended and self.idle and not self._bisection.open

    @property
    def idle(self) -> bool:
        """True if nothing waits to be attempted, and nothing is under way."""
        left = self.backlog.fresh or self.backlog.deferred or self._bisection.waiting
        return not (left or self.calls.under_way or self._unrecorded)

    def statistics(self, now: float) -> DispatcherStatistics:
        """Return what the dispatcher holds at this moment."""
        return DispatcherStatistics(
            fresh=self.backlog.fresh,
            deferred=self.backlog.deferred,
            in_flight=self.calls.under_way,
            in_flight_max=self.calls.at_once_max,
            latency_s=self._gate.in_flight.latency_s,
            hold=self._hold,
            daily=self.daily.statistics(
                now, self.backlog.least_weight if self.backlog.ready else 1
            ),
        )


def _part(batch: Batch, verdicts: Sequence[Verdict], actions: tuple[Action, ...]) -> Batch:
    """Return the entries of a batch whose answer calls for one of `actions`."""
    if len({verdict.rule for verdict in verdicts}) == 1:
        return batch if verdicts[0].rule.action in actions else Batch(batch.number, ())
    pairs = zip(batch.entries, verdicts, strict=True)
    entries = tuple(entry for entry, verdict in pairs if verdict.rule.action in actions)
    return Batch(batch.number, entries)
