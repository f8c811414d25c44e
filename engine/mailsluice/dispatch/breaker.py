"""The circuit breaker: one call at a time while SES does not answer. Pure.

An outage then leaves a few recipients in doubt, not thousands.
"""

from __future__ import annotations

from random import Random

from mailsluice.dispatch import backoff
from mailsluice.ses.statuses import ENTRY_RULES, Action, Verdict

DOUBTS_IN_A_ROW_MAX = 3
"""In-doubt calls in a row after which the breaker opens."""


class CircuitBreaker:
    """Allows one call at a time, with back-off, while SES cannot be reached or does not answer.

    There is no state in which nothing may be sent: an open breaker is half-open at once.
    """

    def __init__(self, random: Random) -> None:
        self.until: float | None = None
        """When the next call may start; None if the breaker is closed."""
        self._random = random
        self._doubts_in_a_row = 0
        self._unanswered_in_a_row = 0
        self._number = 0
        """The newest batch that had been started when the breaker opened last."""

    @property
    def is_open(self) -> bool:
        """True while only one call at a time may be under way."""
        return self.until is not None

    def note(self, number: int, first: Verdict, latest: int, now: float) -> None:
        """Take note of the answer to batch `number`; `first` is its first entry's verdict.

        `latest` is the newest batch started.
        """
        action = first.rule.action
        answered = first.status in ENTRY_RULES  # if only by a success without a MessageId
        if answered or action not in (Action.DOUBT, Action.RECONNECT):
            self._doubts_in_a_row = self._unanswered_in_a_row = 0
            self.until = None
            return
        self._doubts_in_a_row += action is Action.DOUBT
        if action is Action.DOUBT and self._doubts_in_a_row < DOUBTS_IN_A_ROW_MAX:
            return
        if number <= self._number:
            return  # it left before the breaker opened: the same outage, not another
        self._unanswered_in_a_row += 1
        delay_s = backoff.ENDPOINT_BACKOFF.delay_s(self._unanswered_in_a_row, self._random)
        self.until = now + delay_s
        self._number = latest
