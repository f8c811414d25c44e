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

IMPORTED_AT_ONCE = 500_000
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


def memory_mb() -> tuple[float, float]:
    """Of this process: its own, and pages of files, which are shared by all that map them."""
    found = {}
    for line in Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) / 1024
    return found["Anonymous"], found["Rss"] - found["Anonymous"]


def look_up(path: Path, count: int) -> None:
    """Measure look-ups in a process that has done nothing else."""
    own_before, files_before = memory_mb()
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
    own, files = memory_mb()
    own, files = own - own_before, files - files_before
    print(f"open                         {opened_s * 1e3:6.0f} ms")
    print(f"lookup, not on the list      {none_us:6.2f} µs   goal ≤ {LOOKUP_US_MAX:.0f}")
    print(f"lookup, a tenth on the list  {all_us:6.2f} µs   ({found:,} found)")
    print(f"late check, nothing changed  {refresh_us:6.2f} µs per batch")
    print(f"memory of its own            {own:6.1f} MB")
    print(f"memory of files, shared      {files:6.1f} MB   goal ≤ {SHARED_MB_MAX:.0f}")
    sys.exit(not (none_us <= LOOKUP_US_MAX and files <= SHARED_MB_MAX))


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
