"""What all tests share: marks, order, Hypothesis profiles, and AWS on loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.support.aws import Aws, shared

# How long an example takes says nothing: other programs share the machine. `make test` draws the
# same examples each time, so a failure is a change of the code; the proofs draw new ones.
settings.register_profile(
    "test",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    max_examples=40,
    derandomize=True,
)
settings.register_profile("ci", settings.get_profile("test"), max_examples=100)
settings.register_profile("prove", settings.get_profile("ci"), derandomize=False)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))

STARTS_PROCESSES = ("cli/", "engine/test_shutdown", "worker/", "test_embedding_examples")
"""Beginnings of paths in tests/: all tests there start processes."""

STARTS_NONE = (
    "cli/test_forecast_text",
    "worker/test_acks",
    "worker/test_known_keys",
    "worker/test_message_schema",
)
"""Beginnings of paths whose tests start none all the same."""

PROCESS_FIXTURES = {"aws"}
"""Fixtures that start a process."""

MARKS = {
    "process": "starts processes; not in `make quick`",
    "proof": "a short proof; `make prove-short`, not in `make test`",
    "browser": "opens a page in Chromium; not in `make quick`",
    "slow": "takes more than 2 s of CPU; not in `make quick`",
}


gc.disable()  # until all tests are collected: nothing of that is garbage


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    # A shell has what runs in the background ignore them, and what a test starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what starts processes, and have it run beside what computes."""
    here = config.rootpath / "tests"
    for item in items:
        path = item.path.relative_to(here).as_posix()
        fixtures = set(getattr(item, "fixturenames", ()))
        by_path = path.startswith(STARTS_PROCESSES) and not path.startswith(STARTS_NONE)
        if by_path or fixtures & PROCESS_FIXTURES:
            item.add_marker("process")
    items[:] = _side_by_side(items)


def pytest_collection_finish() -> None:
    """Have no later collection of garbage look at all tests and modules."""
    gc.freeze()
    gc.enable()


def _side_by_side(items: list[pytest.Item]) -> list[pytest.Item]:
    """First what computes for long; then tests that wait for processes, evenly among the others.

    The others have the cores while those wait.
    """
    waits = [item for item in items if "process" in item.keywords]
    computes = [item for item in items if "process" not in item.keywords]
    computes.sort(key=lambda item: not {"proof", "slow"} & set(item.keywords))
    places = {
        id(item): (n / len(group), item.nodeid)
        for group in (waits, computes)
        for n, item in enumerate(group)
    }
    return sorted(items, key=lambda item: places[id(item)])


@pytest.fixture
async def skip(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that moves the clock of the test's event loop on by some seconds."""
    loop, skipped_s = asyncio.get_running_loop(), 0.0
    time = loop.time

    def skip_s(seconds: float) -> None:
        nonlocal skipped_s
        skipped_s += seconds

    monkeypatch.setattr(loop, "time", lambda: time() + skipped_s)
    return skip_s


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Aws:
    """SQS and S3, shared by all of pytest's workers; each test makes queues and keys of its own."""
    folder, owner = tmp_path_factory.getbasetemp(), os.getpid()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder, owner = folder.parent, os.getppid()
    return shared(folder, owner)
