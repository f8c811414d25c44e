"""The line in which batches leave for SES, at the rate. Pure.

A batch asks for its turn when its bytes could leave, and is charged when they do. So nothing is
promised ahead of time: after a stall (of the event loop, the disk, the network, the machine) the
batches whose turns have passed find one batch in the bucket between them. One leaves, and the
others are given new turns, at the rate.

Between the charge and the write the process may be stopped. Until a batch is known to be written,
the bucket therefore fills only as far as if the batch had left this moment. In every window of t
seconds at most `rate * t` + one batch is written, wherever the process is stopped.
"""

from __future__ import annotations

from mailsluice.dispatch.bucket import Bucket


class Departures(Bucket):
    """A bucket with a line of batches before it."""

    def __init__(self, rate_per_s: float, depth: float, level: float, now: float) -> None:
        super().__init__(rate_per_s, depth, level, now)
        self._line: dict[int, tuple[int, int]] = {}
        """By batch: its place, and its weight."""
        self._joined = 0
        """Weight of all batches that have joined the line: the place of the last one."""
        self._gone = 0
        """Weight of all that are not in the line any more."""
        self._unwritten = 0
        """Weight of the batches that were charged, and may not have been written yet."""

    def level(self, now: float) -> float:
        """What may leave now."""
        return min(super().level(now), self._depth - self._unwritten)

    def turn(self, batch: int, weight: int, now: float) -> float:
        """When that batch may leave: now, or the moment at which to ask again."""
        if batch not in self._line:
            self._joined += weight
            self._line[batch] = self._joined, weight
        ahead = max(0, self._line[batch][0] - self._gone - weight)
        return self._after(ahead + min(weight, self._depth) - self.level(now), now)

    def leave(self, batch: int, now: float) -> None:
        """It is its turn: it leaves now."""
        weight = self.forget(batch)
        self.take(weight, now)
        self._unwritten += weight

    def written(self, weight: int, now: float) -> None:
        """A batch of that weight, which was charged before, has been written."""
        self._level, self._at = self.level(now), now
        self._unwritten -= weight

    def forget(self, batch: int) -> int:
        """It is not in the line any more. Returns its weight; 0 if it never was."""
        _, weight = self._line.pop(batch, (0, 0))
        self._gone += weight
        return weight

    def free_at(self, now: float) -> float:
        """When all that are in the line will have left."""
        return self._after(self._joined - self._gone - self.level(now), now)
