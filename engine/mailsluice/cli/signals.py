"""Selects the signals that a command obeys."""

from __future__ import annotations

import signal
from collections.abc import Iterable


def obeyed(numbers: Iterable[signal.Signals]) -> tuple[signal.Signals, ...]:
    """Leave out those that the process was started to ignore, as by `nohup` or a shell's `&`.

    Call it before a handler is set.
    """
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)
