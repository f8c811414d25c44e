"""What an answer means for each recipient of a batch, by its earlier attempts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from mailsluice.dispatch import backoff
from mailsluice.model import Entry, InDoubt, Outcome, State
from mailsluice.ses.statuses import Action, Rule, Verdict

_new = tuple.__new__

HEAVY_RULE = Rule(Action.DEFER)
"""The rule for a throttled recipient with more addresses than one second's rate."""


class Attempts:
    """Counts the burned attempts of deferred recipients, and notes which SES may have accepted."""

    def __init__(
        self,
        *,
        attempts_max: int,
        in_doubt: InDoubt,
        burned: dict[int, int] | None = None,
        doubted: Iterable[int] = (),
    ) -> None:
        self._attempts_max = attempts_max
        self._in_doubt = in_doubt
        self._burned = dict(burned or {})
        self._doubted = set(doubted)

    def outcomes(self, entries: Iterable[Entry], verdicts: Iterable[Verdict]) -> list[Outcome]:
        """Return the outcome for each recipient of a batch. Changes nothing."""
        sent, state = Action.SENT, State.SENT
        return [
            # Nearly all are this; a call for each of them takes four times as long.
            _new(Outcome, (state, verdict.status, verdict.message_id, verdict.error, False, False))
            if verdict.rule.action is sent
            else self.outcome(entry.seq, verdict)
            for entry, verdict in zip(entries, verdicts, strict=True)
        ]

    def outcome(self, seq: int, verdict: Verdict) -> Outcome:
        """Return the outcome for one recipient. Changes nothing."""
        rule, status, message_id, error = verdict
        match rule.action:
            case Action.SENT:
                return Outcome(State.SENT, status, message_id, error)
            case Action.REJECT:
                return Outcome(self.given_up(seq, State.REJECTED), status, None, error)
            case Action.FAIL:
                return Outcome(self.given_up(seq, State.FAILED), status, None, error)
            case Action.DEFER:
                state = (
                    self.given_up(seq, State.FAILED) if self._spent(seq, rule) else State.PENDING
                )
                return Outcome(state, status, None, error, burned=True)
            case Action.DOUBT:
                resend = self._in_doubt == "resend" and not self._spent(seq, rule)
                state = State.PENDING if resend else State.IN_DOUBT
                return Outcome(state, status, message_id, error, burned=True, doubted=True)
            case _:
                return Outcome(State.PENDING, status, None, error)

    def outcome_of_heavy(
        self, seq: int, weight: int, ceiling_per_s: float, verdict: Verdict
    ) -> Outcome:
        """Do as `outcome` for a recipient with more addresses than one second's rate.

        SES may throttle such a recipient for ever, so here a throttle burns an attempt.
        """
        if verdict.rule.action is not Action.THROTTLE:
            return self.outcome(seq, verdict)
        outcome = self.outcome(seq, verdict._replace(rule=HEAVY_RULE))
        why = f"{weight} addresses at once, at {ceiling_per_s:g} a second"
        return outcome._replace(error=f"{verdict.error or verdict.status} ({why})")

    def given_up(self, seq: int, state: State) -> State:
        """Return `state`, or in doubt if SES may have accepted an earlier attempt."""
        return State.IN_DOUBT if seq in self._doubted else state

    def deferred(self, seq: int, outcome: Outcome) -> int:
        """Take note of an outcome that leaves the recipient pending; return its burned attempts."""
        if outcome.doubted:
            self._doubted.add(seq)
        if outcome.burned:
            self._burned[seq] = self._burned.get(seq, 0) + 1
        return self._burned.get(seq, 0)

    def forget(self, seqs: Iterable[int]) -> None:
        """Forget recipients that have their final outcome."""
        if self._burned or self._doubted:
            for seq in seqs:
                self._burned.pop(seq, None)
                self._doubted.discard(seq)

    def _spent(self, seq: int, rule: Rule) -> bool:
        return backoff.exhausted(rule, self._burned.get(seq, 0) + 1, self._attempts_max)
