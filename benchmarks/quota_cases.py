"""What `make bench-quota` measures in real time, and the tests on virtual time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """One call as SES saw it."""

    at: float
    """Seconds since the case began."""
    weight: int
    accepted: int
    mine: bool
    """False: another tenant's."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Another program that sends through the account, whatever SES says."""

    rate_per_s: float
    begins_s: float
    ends_s: float
    every_s: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of the table."""

    name: str
    account: dict[str, Any]
    """Settings of the emulated account."""
    latency_s: tuple[float, float] = (0.05, 0.25)
    seconds: float = 60.0
    quota: dict[str, Any] = field(default_factory=dict)
    """`[quota]` of the run."""
    changes: Sequence[tuple[float, dict[str, Any]]] = ()
    """When the account's settings change."""
    latencies: Sequence[tuple[float, tuple[float, float]]] = ()
    tenant: Tenant | None = None
    kills_s: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of it."""

    case: Case
    samples: Sequence[Sample]

    def rate_at(self, at: float) -> float:
        """What SES allowed then."""
        rate: float = self.case.account["rate_per_s"]
        for begins, change in self.case.changes:
            if at >= begins and "rate_per_s" in change:
                rate = change["rate_per_s"]
        return rate

    def accepted(self, begin: float, end: float, *, mine: bool = True) -> int:
        """Recipients accepted between these seconds."""
        return sum(s.accepted for s in self.samples if s.mine is mine and begin <= s.at < end)

    def left(self, begin: float, end: float) -> float:
        """What there was to take."""
        step = 0.01
        steps = round((end - begin) / step)
        allowed = sum(self.rate_at(begin + n * step) for n in range(steps)) * step
        return allowed - self.accepted(begin, end, mine=False)

    def used(self, begin: float, end: float) -> float:
        """Part of that which was taken."""
        return self.accepted(begin, end) / self.left(begin, end)

    @property
    def throttled(self) -> float:
        """Part of the submitted recipients that were throttled."""
        mine = [s for s in self.samples if s.mine]
        refused = sum(s.weight - s.accepted for s in mine)
        return refused / sum(s.weight for s in mine)

    @property
    def peak(self) -> int:
        """Most recipients submitted in any second."""
        mine = [s for s in self.samples if s.mine]
        begun = inside = most = 0
        for s in mine:
            inside += s.weight
            while mine[begun].at <= s.at - 1:
                inside -= mine[begun].weight
                begun += 1
            most = max(most, inside)
        return most
