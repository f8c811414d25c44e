"""A set of row numbers in one bit each: ten million rows are 1.25 MB. Pure.

Rows come in runs: a list of rows is always one, and a batch usually is. An operation on a whole
`range` takes no longer than one on a single row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

GROWTH_BYTES = 4096

MISSING_STEP = 4096
"""Numbers that `missing` looks at in one step."""


class Bitmap:
    """A set of non-negative integers that grows by itself."""

    __slots__ = ("_bits",)

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        self.add(numbers)

    def __contains__(self, n: int) -> bool:
        index = n >> 3
        return index < len(self._bits) and self._bits[index] >> (n & 7) & 1 == 1

    def add(self, numbers: Iterable[int]) -> None:
        """Add each of `numbers`."""
        if isinstance(numbers, range) and numbers:
            self._change_run(numbers[0], numbers[-1], put_in=True)
            return
        bits = self._bits
        for n in numbers:
            self._reach(n)
            bits[n >> 3] |= 1 << (n & 7)

    def discard(self, numbers: Iterable[int]) -> None:
        """Remove each of `numbers` that is in the set."""
        if isinstance(numbers, range) and numbers:
            self._change_run(numbers[0], numbers[-1], put_in=False)
            return
        bits = self._bits
        for n in numbers:
            if n >> 3 < len(bits):
                bits[n >> 3] &= ~(1 << (n & 7)) & 0xFF

    def within(self, first: int, last: int) -> Collection[int]:
        """Return the numbers in the set from `first` to `last`, both inclusive."""
        window = self._window(first, last)
        if not window:
            return ()
        run = range(first, last + 1)
        return run if window == _ones(len(run)) else {n for n in run if window >> (n - first) & 1}

    def among(self, numbers: Sequence[int]) -> Collection[int]:
        """Return those of `numbers` that are in the set."""
        if isinstance(numbers, range):
            return self.within(numbers[0], numbers[-1]) if numbers else ()
        return {n for n in numbers if n in self}

    def has_any(self, numbers: Iterable[int]) -> bool:
        """Return True if one of `numbers` is in the set."""
        if isinstance(numbers, range) and numbers:
            return self._window(numbers[0], numbers[-1]) != 0
        return any(n in self for n in numbers)

    def missing(self, first: int, last: int) -> Iterator[int]:
        """Yield the numbers from `first` to `last`, both inclusive, that are not in the set."""
        for begin in range(first, last + 1, MISSING_STEP):
            run = range(begin, min(begin + MISSING_STEP, last + 1))
            inside = self.within(run[0], run[-1])
            if len(inside) < len(run):
                yield from (n for n in run if n not in inside)

    def __iter__(self) -> Iterator[int]:
        """Yield the numbers in the set, smallest first."""
        for index, byte in enumerate(self._bits):
            if byte:
                yield from ((index << 3) + bit for bit in range(8) if byte >> bit & 1)

    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()

    def _window(self, first: int, last: int) -> int:
        """Return the bits of a range as one integer; the first number is the lowest bit."""
        some = int.from_bytes(self._bits[first >> 3 : (last >> 3) + 1], "little")
        return some >> (first & 7) & _ones(last - first + 1)

    def _change_run(self, first: int, last: int, *, put_in: bool) -> None:
        self._reach(last)
        part = slice(first >> 3, (last >> 3) + 1)
        some = int.from_bytes(self._bits[part], "little")
        run = _ones(last - first + 1) << (first & 7)
        some = some | run if put_in else some & ~run
        self._bits[part] = some.to_bytes(part.stop - part.start, "little")

    def _reach(self, n: int) -> None:
        missing = (n >> 3) + 1 - len(self._bits)
        if missing > 0:
            self._bits.extend(bytes(max(GROWTH_BYTES, missing)))


def _ones(count: int) -> int:
    return (1 << count) - 1
