"""How many recipients are still to be sent."""

from __future__ import annotations

from dataclasses import dataclass

from mailsluice.engine.run import Statistics
from mailsluice.sources.files import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is known of it at the start of a run."""

    estimate: Estimate | None
    """Of the source's rows."""
    part: bool = False
    """Whether a part of a finished run is sent once more: all of it is pending."""

    @property
    def exact(self) -> bool:
        """Whether the rows have been counted."""
        return self.part or (self.estimate is not None and self.estimate.exact)

    def left(self, now: Statistics) -> int | None:
        """Recipients still to be sent; None where nothing is known of the source's length.

        Rows that intake has not seen yet count as recipients.
        """
        counts = now.counts
        if self.part:
            return counts.pending
        if self.estimate is None:
            return None
        if now.fraction_read == 1.0 and not self.exact:
            return counts.pending
        return max(counts.pending, self.estimate.rows - (counts.read - counts.pending))

    def done_share(self, now: Statistics) -> float | None:
        """Part of all recipients that is settled, 0.0-1.0; None if their number is not known."""
        left = self.left(now)
        if left is None and now.fraction_read:
            left = round(now.counts.read * (1 / now.fraction_read - 1)) + now.counts.pending
        settled = now.counts.read - now.counts.pending
        return settled / (settled + left) if left is not None and settled + left else None

    @property
    def addresses_each(self) -> float:
        """Addresses of a recipient, the mean of those that have been looked at."""
        return self.estimate.addresses_each if self.estimate else 1.0
