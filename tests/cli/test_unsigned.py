"""Credentials that cannot be obtained: nothing is sent, rejected or in doubt, whoever sends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from mailsluice import (
    ConfigurationError,
    DeliverySettings,
    Engine,
    Held,
    Mailing,
    Message,
    Settings,
)
from mailsluice.emulator import Emulator
from mailsluice.ses import client as clients
from tests.cli.conftest import Folder
from tests.prove import wire
from tests.support.peer import listening
from tests.support.waiting import PATIENCE_S

ROWS = [row for row in wire.BEFORE if row.scheme == "http"]
ANSWERED = [row for row in ROWS if "never" not in row.name]

WELCOME = Mailing(from_address="news@example.com", template="welcome")


@contextmanager
def failing(row: wire.Row) -> Iterator[dict[str, str | None]]:
    """The environment in which credentials fail."""
    assert row.environment is not None
    with ExitStack() as stack:
        yield row.environment(stack)


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def environment(request: pytest.FixtureRequest) -> Iterator[dict[str, str | None]]:
    with failing(request.param) as changes:
        yield changes


async def test_a_message_is_not_sent_and_its_caller_is_told_why(
    environment: dict[str, str | None], ses_emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT_S", 1.0)
    settings = Settings(delivery=DeliverySettings(timeout_s=1))
    with pytest.raises((Held, ConfigurationError), match="AWS credentials"):
        async with asyncio.timeout(PATIENCE_S), Engine.open(settings) as engine:
            await engine.send(Message(WELCOME, to="ann@example.com"))
    assert len(ses_emulator.ledger) == 0


@pytest.mark.parametrize("row", ANSWERED, ids=lambda row: row.name)
def test_a_command_sends_nothing_and_says_why(folder: Folder, row: wire.Row) -> None:
    with failing(row) as environment:
        ended = folder.send(environment=environment)
        assert ended.code in {2, 3}
        assert "AWS credentials" in ended.out + ended.err
        if ended.code == 3:
            assert folder.counts() == {}  # it is held before the list is read
    assert folder.accepted == 0
    ended = folder.send()
    assert (ended.code, folder.accepted, folder.audit().agree) == (0, 2, True)


def test_a_command_beside_an_sts_that_never_answers_obeys_sigterm(folder: Folder) -> None:
    with ExitStack() as stack:
        sts = stack.enter_context(listening(wire.HANG))
        changes = wire.web_identity(None)(stack) | {
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.port}",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder.write("token", "token")),
        }
        process = stack.enter_context(folder.started(environment=changes))
        assert sts.wait_for(1, PATIENCE_S)
        process.send_signal(signal.SIGTERM)
        ended = folder.end(process)
    assert ended.code == 4
    assert folder.accepted == 0
