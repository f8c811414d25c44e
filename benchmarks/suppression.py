"""What a suppression list costs: a lookup, the memory of a process, an import, the late check.

    python -m benchmarks.suppression [ADDRESSES]     default: 10000000

A tenth of the addresses looked up are on the list.
"""

from __future__ import annotations

import itertools
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mailsluice.suppression.scopes import ALL, Reason, Suppression
from mailsluice.suppression.store import Suppressions

IMPORTED_AT_ONCE = 100_000
LOOKUPS = 500_000
REFRESHES = 10_000
LOOKUP_US_MAX = 3.0
SHARED_MB_MAX = 100.0


def suppressions(count: int) -> itertools.chain[Suppression]:
    """So many addresses."""
    return itertools.chain.from_iterable(
        [Suppression(f"user{number}@example.com", Reason.BOUNCE, ALL, 1.7e9, "list")]
        for number in range(count)
    )


def memory_mb() -> dict[str, float]:
    """Of this process: private, and shared with the page cache."""
    found = {"private": 0.0, "shared": 0.0}
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        kind = "private" if name.startswith("Private_") else "shared"
        if name in {"Private_Clean", "Private_Dirty", "Shared_Clean", "Shared_Dirty"}:
            found[kind] += int(rest.split()[0]) / 1024
    return found


def look_up(path: Path, count: int) -> None:
    """A process that has done nothing else."""
    before = memory_mb()
    begun = time.process_time()
    store = Suppressions.open(path)
    opened_s = time.process_time() - begun
    addresses = [
        f"user{number % count if number % 10 == 0 else number + count}@example.com"
        for number in range(0, LOOKUPS * 7, 7)
    ]
    begun = time.process_time()
    found = sum(store.find(address, "news", 1.8e9) is not None for address in addresses)
    all_us = (time.process_time() - begun) / LOOKUPS * 1e6
    others = [address for number, address in enumerate(addresses) if number % 10]
    begun = time.process_time()
    assert not any(store.find(address, "news", 1.8e9) for address in others)
    none_us = (time.process_time() - begun) / len(others) * 1e6
    begun = time.process_time()
    for _ in range(REFRESHES):
        store.refresh()
    refresh_us = (time.process_time() - begun) / REFRESHES * 1e6
    del addresses, others
    after = memory_mb()
    print(f"open                         {opened_s * 1e3:6.0f} ms")
    print(f"lookup, not on the list      {none_us:6.2f} µs   goal ≤ {LOOKUP_US_MAX:.0f}")
    print(f"lookup, a tenth on the list  {all_us:6.2f} µs   ({found:,} found)")
    print(f"late check, nothing changed  {refresh_us:6.2f} µs per batch")
    for kind in before:
        print(f"memory more than before, {kind:8s} {after[kind] - before[kind]:5.0f} MB")
    size = Path(f"{path}.index").stat().st_size / 2**20
    print(f"index file                   {size:6.1f} MB   goal ≤ {SHARED_MB_MAX:.0f}")
    sys.exit(not (none_us <= LOOKUP_US_MAX and size <= SHARED_MB_MAX))


def main(count: int) -> int:
    """Print the figures; 1 if one misses its goal."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(prefix="mailsluice-suppression-") as name:
        path = Path(name) / "suppressions.db"
        store = Suppressions.open(path)
        rest = suppressions(count)
        begun = time.process_time()
        while batch := list(itertools.islice(rest, IMPORTED_AT_ONCE)):
            store.add(batch)
        added_us = (time.process_time() - begun) / count * 1e6
        begun = time.process_time()
        store.refresh()
        indexed_us = (time.process_time() - begun) / count * 1e6
        store.close()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{count:,} addresses")
        print(f"import, CPU per address      {added_us:6.1f} µs   (peak {peak_mb:.0f} MB)")
        print(f"index, CPU per address       {indexed_us:6.2f} µs")
        print(f"database, per address        {path.stat().st_size / count:6.1f} bytes")
        command = [sys.executable, "-m", "benchmarks.suppression", str(count), str(path)]
        sys.stdout.flush()
        return subprocess.call(command)


if __name__ == "__main__":
    COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    if len(sys.argv) > 2:
        look_up(Path(sys.argv[2]), COUNT)
    sys.exit(main(COUNT))
