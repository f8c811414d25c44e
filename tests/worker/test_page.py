"""The worker's page in headless Chromium: its numbers are those of /status, on any screen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailsluice.emulator import AccountSettings, Emulator, EntryFault
from tests.support import browser
from tests.support.worker import WORKER, Running, drop_mailing, worker

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed"),
]

SHOWN = """\
(() => {
  const figure = (part) => Number(part.textContent.replace(/[^0-9]/g, ""));
  const mailings = {};
  for (const card of document.querySelectorAll("[data-mailing]")) {
    const counts = {};
    for (const part of card.querySelectorAll("[data-count]"))
      counts[part.dataset.count] = figure(part);
    mailings[card.dataset.mailing] = counts;
  }
  const bulk = document.querySelector("[data-lane=bulk]").textContent;
  const statuses = {};
  for (const part of document.querySelectorAll("[data-status]"))
    statuses[part.dataset.status] = figure(part);
  return {
    mailings, statuses,
    bulk: Number(bulk.split(", ").slice(1).join("").replace(/[^0-9]/g, "")),
    allowed: Number(document.getElementById("allowed").textContent.replace(/,/g, "")),
    points: document.getElementById("line-sent").getAttribute("points").split(" ").length,
    why: document.getElementById("why").textContent,
  };
})()
"""

UPDATED = 'document.getElementById("line-sent").getAttribute("points").split(" ").length > {}'


def of_status(running: Running) -> dict[str, Any]:
    """What the page is to show, as /status has it."""
    status = running.get("/status")
    return {
        "mailings": {each["name"]: each["counts"] for each in status["mailings"]},
        "bulk": status["lanes"]["bulk"]["sent"],
        "statuses": status["statuses"],
        "allowed": status["allowed_per_s"],
    }


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=10, daily_max=-1))
async def test_its_numbers_are_those_of_status(ses_emulator: Emulator, tmp_path: Path) -> None:
    ses_emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", address="one3*"))
    drop_mailing(tmp_path, "one", 500)
    drop_mailing(tmp_path, "two", 500)
    with worker(tmp_path, ses_emulator, WORKER + "[quota]\nrefresh_s = 1\n") as running:
        async with browser.opened(running.url) as tab:
            await tab.until('document.querySelectorAll("[data-mailing]").length == 2')
            running.until(lambda: of_status(running)["bulk"] > 0)
            points = (await tab.evaluate(SHOWN))["points"]
            await tab.until(UPDATED.format(points + 2))
            before = await tab.evaluate(SHOWN)
            status = await asyncio.to_thread(of_status, running)
            await tab.until(UPDATED.format(before["points"] + 1))
            after = await tab.evaluate(SHOWN)
            assert before["allowed"] == status["allowed"] == 10
            assert before["why"].startswith(("the rate", "another"))
            # What is shown is a second old at most: status lies between two updates.
            for name in ("one", "two"):
                for key in ("sent", "rejected"):
                    shown = [each["mailings"][name].get(key, 0) for each in (before, after)]
                    assert shown[0] <= status["mailings"][name][key] <= shown[1]
            assert before["bulk"] <= status["bulk"] <= after["bulk"]
            assert before["bulk"] > 0
            ses_emulator.change_account(rate_per_s=5_000)
            await tab.until("[...document.querySelectorAll('.good')].length == 2")
            await tab.until(UPDATED.format(after["points"] + 2))
            shown = await tab.evaluate(SHOWN)
            status = await asyncio.to_thread(of_status, running)
            rejected = status["mailings"]["one"]["rejected"]
            assert rejected == 111
            assert shown["statuses"] == status["statuses"] == {"MESSAGE_REJECTED": rejected}
            assert shown["mailings"]["one"] == {"sent": 500 - rejected, "rejected": rejected}
            assert shown["mailings"]["two"] == {"sent": 500}
            assert shown["bulk"] == status["bulk"] == 1_000 - rejected


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=100, daily_max=-1))
async def test_it_fits_a_phone_and_a_wide_screen_and_its_buttons_work(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    ses_emulator.faults.add(EntryFault(status="MESSAGE_REJECTED", rate=0.1))
    drop_mailing(tmp_path, "a-mailing-whose-name-is-longer-than-a-phone-is-wide", 3_000)
    drop_mailing(tmp_path, "another", 3_000)
    with worker(tmp_path, ses_emulator) as running:
        async with browser.opened(running.url) as tab:
            await tab.until('document.querySelectorAll("[data-mailing]").length == 2')
            await tab.until(UPDATED.format(3))
            for name, width, height, dark in (
                ("phone", 390, 844, False),
                ("wide", 1440, 900, False),
                ("dark", 1440, 900, True),
            ):
                await tab.resize(width, height, dark=dark)
                await tab.until(f"innerWidth == {width}")
                assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
                picture = tmp_path / f"{name}.png"  # to be looked at
                picture.write_bytes(await tab.picture())
                assert picture.stat().st_size > 10_000
            button = "[...document.querySelectorAll('button')].find(b => b.textContent == '{}')"
            await tab.evaluate(button.format("pause all") + ".click()")
            await tab.until(button.format("resume all"))
            assert running.get("/status")["paused"]
            await tab.evaluate(button.format("resume all") + ".click()")
            await tab.until(button.format("pause all"))
            await tab.until(button.format("pause"))
            await tab.evaluate(button.format("pause") + ".click()")
            await tab.until(button.format("resume"))
            assert sorted(running.states().values()) == ["paused", "sending"]
