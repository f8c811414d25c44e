"""The number of recipients still to be sent."""

from __future__ import annotations

from dataclasses import dataclass

from mailsluice.engine.run import Statistics
from mailsluice.sources.files import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is known of that number at the start of a run."""

    estimate: Estimate | None
    """Estimate of the source's rows."""
    part: bool = False
    """True if a part of a finished run is sent again: all of it is pending."""

    @property
    def exact(self) -> bool:
        """True if the rows have been counted."""
        return self.part or (self.estimate is not None and self.estimate.exact)

    def left(self, now: Statistics) -> int | None:
        """Return the recipients still to be sent; None if the source's length is unknown.

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
        """Return the settled share of all recipients, 0.0-1.0; None if their number is unknown."""
        left = self.left(now)
        if left is None and now.fraction_read:
            left = round(now.counts.read * (1 / now.fraction_read - 1)) + now.counts.pending
        settled = now.counts.read - now.counts.pending
        return settled / (settled + left) if left is not None and settled + left else None

    @property
    def addresses_each(self) -> float:
        """Return the mean number of addresses per sampled recipient."""
        return self.estimate.addresses_each if self.estimate else 1.0
