"""A storm costs a few doubts, not thousands: when to send one call at a time. Pure."""

from __future__ import annotations

from random import Random

from mailsluice.dispatch import backoff
from mailsluice.ses.statuses import ENTRY_RULES, Action, Verdict

DOUBTS_IN_A_ROW_MAX = 3
"""In-doubt calls in a row after which sending narrows to one call at a time."""


class Storm:
    """Narrows sending, with back-off, while SES cannot be reached or does not answer."""

    def __init__(self, random: Random) -> None:
        self.until: float | None = None
        """Nothing is to be sent before; None where sending is not narrowed."""
        self._random = random
        self._doubts_in_a_row = 0
        self._unanswered_in_a_row = 0
        self._number = 0
        """The newest batch that had been started when sending was narrowed last."""

    @property
    def narrowed(self) -> bool:
        """Whether there may be one call at a time only."""
        return self.until is not None

    def note(self, number: int, first: Verdict, latest: int, now: float) -> None:
        """Batch `number` has its answer, of which `first` is the first entry's verdict.

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
            return  # it left before sending was narrowed: one outage, not one more
        self._unanswered_in_a_row += 1
        delay_s = backoff.ENDPOINT_BACKOFF.delay_s(self._unanswered_in_a_row, self._random)
        self.until = now + delay_s
        self._number = latest
