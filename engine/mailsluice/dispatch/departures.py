"""The queue in which batches leave for SES, at the rate. Pure.

A batch asks for its turn when its bytes could leave, and is charged when they do. So no turn is
promised ahead of time: after a stall (of the event loop, the disk, the network, the machine) the
bucket holds one batch for all whose turns have passed. One leaves, and the others get new turns at
the rate.

Between the charge and the write the process may be stopped. Until a batch is known to be written,
the bucket therefore fills only as far as if the batch had left this moment. In every window of t
seconds at most `rate * t` + the depth (`pacer`: one batch) is written, wherever the process is
stopped.
"""

from __future__ import annotations

from mailsluice.dispatch.bucket import Bucket


class Departures(Bucket):
    """A bucket with a queue of batches before it."""

    def __init__(self, rate_per_s: float, depth: float, level: float, now: float) -> None:
        super().__init__(rate_per_s, depth, level, now)
        self._line: dict[int, tuple[int, int]] = {}
        """Place and weight of each waiting batch, by number."""
        self._joined = 0
        """Weight of all batches that have ever joined: the place of the last one."""
        self._gone = 0
        """Weight of all batches that have left the queue."""
        self._unwritten = 0
        """Weight of the batches that were charged, and may not have been written yet."""

    def level(self, now: float) -> float:
        """Return the weight that may leave now."""
        return min(super().level(now), self._depth - self._unwritten)

    def turn(self, batch: int, weight: int, now: float) -> float:
        """Return `now` if that batch may leave, else the moment to ask again."""
        if batch not in self._line:
            self._joined += weight
            self._line[batch] = self._joined, weight
        ahead = max(0, self._line[batch][0] - self._gone - weight)
        return self._after(ahead + min(weight, self._depth) - self.level(now), now)

    def leave(self, batch: int, now: float) -> None:
        """Charge a batch whose turn has come: it leaves now."""
        weight = self.forget(batch)
        self.take(weight, now)
        self._unwritten += weight

    def written(self, weight: int, now: float) -> None:
        """Take note that a charged batch of that weight has been written."""
        self._level, self._at = self.level(now), now
        self._unwritten -= weight

    def forget(self, batch: int) -> int:
        """Remove a batch from the queue. Return its weight; 0 if it was not there."""
        _, weight = self._line.pop(batch, (0, 0))
        self._gone += weight
        return weight

    def free_at(self, now: float) -> float:
        """Return when all waiting batches will have left."""
        return self._after(self._joined - self._gone - self.level(now), now)
