"""A set of row numbers in one bit each: ten million rows are 1.25 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Bitmap:
    """A set of non-negative integers that grows by itself."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, n: int) -> bool:
        index = n >> 3
        return index < len(self._bits) and self._bits[index] >> (n & 7) & 1 == 1

    def add(self, numbers: Iterable[int]) -> None:
        """Put each of `numbers` in."""
        bits = self._bits
        for n in numbers:
            index = n >> 3
            if index >= len(bits):
                bits.extend(bytes(max(4096, index + 1 - len(bits))))
            bits[index] |= 1 << (n & 7)

    def discard(self, numbers: Iterable[int]) -> None:
        """Take each of `numbers` out; those that are not in stay out."""
        bits = self._bits
        for n in numbers:
            if n >> 3 < len(bits):
                bits[n >> 3] &= ~(1 << (n & 7)) & 0xFF

    def __iter__(self) -> Iterator[int]:
        """The numbers in it, smallest first."""
        for index, byte in enumerate(self._bits):
            if byte:
                yield from ((index << 3) + bit for bit in range(8) if byte >> bit & 1)

    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()
