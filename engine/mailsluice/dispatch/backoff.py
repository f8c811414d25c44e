"""When a deferred recipient may be tried again, and when its attempts are exhausted."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from mailsluice.ses.statuses import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with jitter: between half and the whole of `first_s * 2^(n-1)`."""

    first_s: float = 1.0
    max_s: float = 300.0

    def delay_s(self, failures: int, random: Random) -> float:
        """Return the seconds to wait after the `failures`-th failure in a row (1 is the first)."""
        # 2**30 seconds are beyond every max_s; larger powers would overflow a float.
        whole = min(self.max_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return whole * random.uniform(0.5, 1.0)


RECIPIENT_BACKOFF = Backoff(first_s=1.0, max_s=300.0)
"""Back-off for a recipient that SES deferred."""

THROTTLE_BACKOFF = Backoff(first_s=0.5, max_s=0.5)
"""Back-off for a throttled recipient: short, because the pacer slows down already."""

ENDPOINT_BACKOFF = Backoff(first_s=0.5, max_s=60.0)
"""Between calls while SES cannot be reached or does not answer."""


def exhausted(rule: Rule, burned: int, max_attempts: int) -> bool:
    """Return True if so many burned attempts, the present one included, are too many."""
    return burned >= min(max_attempts, rule.attempts_max or max_attempts)
