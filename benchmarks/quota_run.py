"""One run of `quota.py`: as `mailsluice send`, but that the day may be shorter than 24 hours.

python benchmarks/quota_run.py FOLDER DAY_S     stops at SIGTERM
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from mailsluice import Engine, Mailing, QuotaSettings, Settings
from mailsluice.cli import runtime
from mailsluice.sources import Fields, files

REFRESH_S = 1.0
"""Between two calls of GetAccount, as often as SES allows."""


async def main(folder: Path, day_s: float) -> None:
    """Send the folder's list, or what is left of it."""
    settings = Settings(quota=QuotaSettings(refresh_s=REFRESH_S))
    async with Engine.open(settings, journal=folder / "run.journal", day_s=day_s) as engine:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.stop)
        source = files.open_source(str(folder / "list.csv"), Fields())
        await engine.run(Mailing(from_address="a@example.com", template="t"), source)


if __name__ == "__main__":
    runtime.run(main(Path(sys.argv[1]), float(sys.argv[2])))
