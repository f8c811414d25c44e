"""The script that asks a real account, here asking the emulator."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mailsluice.emulator import Emulator
from tests.support.aws import Aws, left
from tools.verify_on_aws import main


def test_it_prints_what_it_has_learnt_on_all_six_facts(
    aws: Aws,
    ses_emulator_factory: Callable[..., Emulator],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=f"verify{random.getrandbits(48)}")["QueueUrl"]
    emulator = ses_emulator_factory(
        account={"rate_per_s": 1_000, "daily_max": -1},
        events={"queue": url, "publishing_s": 0.01, "copies": 0.2},
    )
    for name, value in (emulator.environment | aws.environment).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tools.verify_on_aws.PAUSE_S", 0)
    sqs.send_message(QueueUrl=url, MessageBody="from before")
    given = ["--from", "news@example.com", "--configuration-set", "events", "--queue", url]
    assert main([*given, "--mails", "40", "--linger", "0"]) == 0
    said = capsys.readouterr().out
    assert [int(line[0]) for line in said.splitlines() if line[1:2] == "."] == [3, 1, 4, 5, 6, 2]
    assert "custom tags: yes" in said
    assert "errorMessage: Attribute 'missing' is not present in the rendering data." in said
    assert "suppressionlist   Bounce / Permanent / Suppressed" in said
    assert "verify-both     ['entry']" in said
    assert "verify-default  ['default']" in said
    assert "40 came: p50" in said
    assert "lost 0 (0.00%)" in said
    assert " ! " not in said, "the emulator and mailsluice agree on what SES would render"
    assert left(sqs, url) == 0 or "copies" in said


def test_a_wrong_queue_is_named(
    ses_emulator: Emulator,  # noqa: ARG001  # credentials
    aws: Aws,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    url = f"{aws.environment['AWS_ENDPOINT_URL_SQS']}/123456789012/none"
    given = ["--from", "news@example.com", "--configuration-set", "events", "--queue", url]
    assert main(given) == 2
    assert "--queue: " in capsys.readouterr().err
