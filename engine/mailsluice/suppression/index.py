"""All hashes of a store in one file, mapped into memory: most addresses are let pass by it.

The first 16 bits of a hash choose one of 65,536 buckets, of which the file has the ends; a bucket
holds the other 48 bits of its hashes, 6 bytes each. 10^7 addresses take 60 MB, which all processes
share and which takes no time to load. The file is a copy of what the store knows: it is made anew
whenever it is missing, damaged, or older than what the store still remembers of its changes.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mailsluice.database import translated

BUCKETS = 1 << 16
RECORD_BYTES = 6

_MAGIC = b"mailsluice index 1\n\0\0\0\0\0"
_HEAD = struct.Struct("<24sqqQI")
"""Magic, number and nonce of the last change, hashes, CRC-32 of all that follows."""
_ENDS = struct.Struct(f"<{BUCKETS}I")
_BODY = _HEAD.size + _ENDS.size

_READ_BYTES = 1 << 20


class Version(NamedTuple):
    """The last change of the store that an index knows."""

    change: int
    nonce: int


class Index:
    """An index that is open. Create with `opened`."""

    def __init__(self, version: Version, hashes: int, mapped: mmap.mmap) -> None:
        self.version = version
        self._hashes = hashes
        self._mapped = mapped
        ends = _ENDS.unpack_from(mapped, _HEAD.size)
        self._ends = (0, *ends)

    def __len__(self) -> int:
        return self._hashes

    def __contains__(self, digest: int) -> bool:
        bucket = (digest >> 48) + (BUCKETS >> 1)
        begin = _BODY + self._ends[bucket] * RECORD_BYTES
        end = _BODY + self._ends[bucket + 1] * RECORD_BYTES
        records = self._mapped[begin:end]
        record = (digest & 0xFFFF_FFFF_FFFF).to_bytes(RECORD_BYTES, "big")
        at = records.find(record)
        while at >= 0 and at % RECORD_BYTES:  # made of parts of two others
            at = records.find(record, at + 1)
        return at >= 0

    def close(self) -> None:
        """Unmap the file."""
        self._mapped.close()


def opened(path: Path) -> Index | None:
    """Open the index in that file; return None if it is missing or damaged."""
    with translated(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            head = os.read(descriptor, _HEAD.size)
            size = os.fstat(descriptor).st_size
            if len(head) < _HEAD.size:
                return None
            magic, change, nonce, hashes, crc = _HEAD.unpack(head)
            if magic != _MAGIC or size != _BODY + hashes * RECORD_BYTES:
                return None
            if _crc(descriptor) != crc:
                return None
            mapped = mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
    return Index(Version(change, nonce), hashes, mapped)


def write(path: Path, version: Version, hashes: Iterable[int]) -> None:
    """Make the index of these hashes, sorted and each once; it replaces the one before at once."""
    with translated(path):
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.new-", dir=path.parent)  # 0600
        try:
            with os.fdopen(descriptor, "wb", _READ_BYTES) as file:
                file.seek(_BODY)
                ends, count = [0] * BUCKETS, 0
                for digest in hashes:
                    ends[(digest >> 48) + (BUCKETS >> 1)] += 1
                    record = (digest & 0xFFFF_FFFF_FFFF).to_bytes(RECORD_BYTES, "big")
                    file.write(record)
                    count += 1
                for bucket in range(1, BUCKETS):
                    ends[bucket] += ends[bucket - 1]
                file.seek(_HEAD.size)
                file.write(_ENDS.pack(*ends))
            descriptor = os.open(name, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.lseek(descriptor, _HEAD.size, os.SEEK_SET)
                crc = _crc(descriptor)
                os.pwrite(descriptor, _HEAD.pack(_MAGIC, *version, count, crc), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _crc(descriptor: int) -> int:
    """Return the checksum of the rest, by reading: mapped pages would count as process memory."""
    crc = 0
    while part := os.read(descriptor, _READ_BYTES):
        crc = zlib.crc32(part, crc)
    return crc
