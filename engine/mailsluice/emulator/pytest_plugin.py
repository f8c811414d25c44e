"""Pytest fixtures that give a test an SES v2 endpoint on loopback, and an environment that uses it.

    @pytest.mark.ses_emulator(account={"rate_per_s": 5})     # the options of EmulatorOptions
    def test_it_sends(ses_emulator):
        subprocess.run(["mailsluice", "send", "mailing.toml"], check=True)
        assert len(ses_emulator.ledger) == 3

The emulator runs in a thread with a loop of its own: synchronous and asynchronous tests use it
alike, and so do the processes that they start.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mailsluice.emulator import Emulator

# What would send the SDK elsewhere, or make it ask for more than the emulator's credentials.
_MISLEADING = (
    "AWS_CONFIG_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `ses_emulator`."""
    config.addinivalue_line(
        "markers", "ses_emulator(**options): options of the ses_emulator fixture (EmulatorOptions)"
    )


@pytest.fixture
def ses_emulator_factory() -> Iterator[Callable[..., Emulator]]:
    """Return a function that starts an emulator with the given options; all stop with the test.

    It does not change the environment: a client needs `emulator.environment`.
    """
    from mailsluice.emulator import EmulatorOptions, emulator_thread  # noqa: PLC0415 - plugin: light

    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(emulator_thread(EmulatorOptions(**options)))


@pytest.fixture
def ses_emulator(
    request: pytest.FixtureRequest,
    ses_emulator_factory: Callable[..., Emulator],
    monkeypatch: pytest.MonkeyPatch,
) -> Emulator:
    """Start an emulator, and point the AWS environment variables to it for the test."""
    marker = request.node.get_closest_marker("ses_emulator")
    options: dict[str, Any] = dict(marker.kwargs) if marker else {}
    emulator = ses_emulator_factory(**options)
    for name in _MISLEADING:
        monkeypatch.delenv(name, raising=False)
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    return emulator
