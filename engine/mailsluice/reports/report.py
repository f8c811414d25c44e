"""The result of a run: the report that scripts read, and its exit code."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

from mailsluice.journal.standing import End
from mailsluice.model import Counts
from mailsluice.model.hold import Hold


class ExitCode(enum.IntEnum):
    """What the command returns (README, "Commands")."""

    FINISHED = 0
    """Finished, and every accepted recipient sent."""
    SOME_NOT_SENT = 1
    """Finished, but some were refused, rejected, failed or are in doubt."""
    BAD_INPUT = 2
    """Bad usage, configuration or input; nothing was sent."""
    HELD = 3
    """Held: run it again when the cause is gone."""
    STOPPED = 4
    """Stopped by a signal: run it again to resume."""
    JOURNAL = 5
    """The journal cannot be written or trusted; nothing more was sent."""
    UNFORESEEN = 70
    """An unexpected error (EX_SOFTWARE of sysexits.h), or no memory or descriptors left after
    sending had begun. The journal has what was sent: run it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The end of one run. `counts` are of the whole run; the rest is of this process."""

    state: End
    hold: Hold | None
    """Why it is held; None unless `state` is "held"."""
    counts: Counts
    calls: int
    """SendBulkEmail calls."""
    throttled: int
    """Recipients whose attempt SES throttled, counted each time."""
    elapsed_s: float
    rate_per_s: float
    """Recipients sent per second."""
    quota_rate_per_s: float
    """Recipients per second that account and settings allow; 0 if GetAccount was never called."""

    @property
    def exit_code(self) -> ExitCode:
        """The command's exit code."""
        match self.state:
            case "held":
                return ExitCode.HELD
            case "stopped":
                return ExitCode.STOPPED
            case "finished":
                counts = self.counts
                bad = counts.refused + counts.rejected + counts.failed + counts.in_doubt
                return ExitCode.SOME_NOT_SENT if bad else ExitCode.FINISHED

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, in the format of `--report`."""
        table = asdict(self)
        table["hold"] = None if self.hold is None else str(self.hold)
        for name in ("elapsed_s", "rate_per_s"):
            table[name] = round(table[name], 3)
        return table
