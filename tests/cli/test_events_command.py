"""`mailsluice events`: SES's events of a mailing, from files and from a queue."""

from __future__ import annotations

import json
import random
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from mailsluice.feedback.store import FeedbackStore
from tests.feedback import shapes
from tests.support.aws import ACCESS, Aws, left

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

EVENTS = ("events", "mailing.toml")

pytestmark = pytest.mark.ses_emulator(
    account={"rate_per_s": 5000, "daily_max": -1},
    events={
        "wrapping": "raw",
        "publishing_s": 1,
        "rule": [
            {"address": "user1@*", "bounce": 1},
            {"address": "user2@*", "silent": 1},
            {"address": "user3@*", "complaint": 1},
        ],
    },
)


def describe(folder: Folder, feedback: str) -> None:
    folder.write_list(20)
    folder.write_mailing(
        '[recipients]\npath = "recipients.csv"\n',
        'configuration_set = "events"\n[recipients]\npath = "recipients.csv"\n'
        f"[feedback]\n{feedback}\n",
    )


def published(folder: Folder) -> list[bytes]:
    """What SES has to say about all that was sent, at once."""
    emulator = folder.emulator
    emulator.publish_all()
    assert emulator.wait_for(events=19 * 2 + 1, timeout_s=60)
    return emulator.events()


def told(folder: Folder, *flags: str) -> dict[str, Any]:
    ended = folder.run(*EVENTS, "--json", *flags)
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def test_files_are_read_and_what_was_heard_is_shown(folder: Folder) -> None:
    describe(folder, 'files = "events"')
    place = folder.path / "events"
    place.mkdir()
    assert told(folder) == {
        "run": None,
        "kinds": {},
        "untagged": {},
        "unread": 0,
        "within_s": {},
        "sent": None,
        "heard": None,
        "silent": None,
    }
    assert folder.send().code == 0
    (place / "a.ndjson").write_bytes(b"\n".join(published(folder)) + b"\n")
    found = told(folder)
    assert found["kinds"] == {"Send": 19, "Delivery": 18, "Bounce": 1, "Complaint": 1}
    assert (found["sent"], found["heard"], found["silent"]) == (20, 19, 1)
    assert found["within_s"].keys() == {"p50", "p95", "p99"}
    assert told(folder) == found, "nothing is read twice"
    lines = folder.run(*EVENTS).out.splitlines()
    assert lines[0].split() == ["run", found["run"]]
    assert lines[1].split() == ["Send", "19"]
    assert re.fullmatch(r"first heard of: 50% within \d+ \w+, 95% within .*", lines[-2])
    assert lines[-1] == "of 20 sent: 19 heard of (95.00%), 1 silent"
    assert (folder.path / "feedback.db").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_read_is_kept_and_said(folder: Folder) -> None:
    describe(folder, 'store = "kept.db"')
    file = folder.write("events.ndjson", "")
    untagged = {**shapes.SEND, "mail": {**shapes.mail(), "tags": {}}}
    file.write_bytes(shapes.firehose(shapes.SEND) + b"{x}\n" + shapes.firehose(untagged))
    ended = folder.run(*EVENTS, "--import", str(file))
    assert ended.code == 1
    assert ended.out.splitlines()[-2:] == [
        "of mail without our tag: 1",
        "could not be read, and kept in the store: 1 (it is not JSON)",
    ]
    store = FeedbackStore.open(folder.path / "kept.db")
    assert [body for _, _, body in store.unread()] == [b"{x}"]
    store.close()
    assert folder.run(*EVENTS).code == 0, "that was said before"


def test_a_queue_is_emptied_and_followed(folder: Folder, aws: Aws) -> None:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=f"events{random.getrandbits(48)}")["QueueUrl"]
    describe(folder, f'queue = "{url}"')
    assert folder.send().code == 0
    bodies = published(folder)
    for body in bodies[:20]:
        sqs.send_message(QueueUrl=url, MessageBody=body.decode())
    environment = aws.environment | ACCESS
    ended = folder.run(*EVENTS, "--json", environment=environment)
    assert ended.code == 0, ended.err
    assert sum(json.loads(ended.out)["kinds"].values()) == 20
    assert left(sqs, url) == 0
    with folder.start(*EVENTS, "--follow", "--json", environment=environment) as following:
        for body in bodies[20:]:
            sqs.send_message(QueueUrl=url, MessageBody=body.decode())
        assert following.stdout is not None
        for line in following.stdout:
            found = json.loads(line)
            if sum(found["kinds"].values()) == len(bodies):
                break
        assert found["silent"] == 1
        following.send_signal(signal.SIGINT)
        assert following.wait() == 0
    assert left(sqs, url) == 0


@pytest.mark.parametrize(
    ("feedback", "flags", "code", "message"),
    [
        (None, (), 2, r"mailing.toml: there is no [feedback] table"),
        ('files = "none"', (), 2, "none: cannot be read: No such file or directory"),
        ('files = "none"', ("--follow", "--import", "x"), 2, "exclude each other"),
        ('files = "."', ("--journal", "x.journal"), 2, "x.journal: there is no such journal"),
        ('files = "."\nstore = "mailing.toml"', (), 5, "mailing.toml: file is not a database"),
        (
            'queue = "http://127.0.0.1:9/1/q"',
            (),
            3,
            "no events can be taken in: .*; run it again when the cause is gone",
        ),
    ],
)
def test_what_is_wrong_has_an_exit_code_and_a_remedy(
    folder: Folder, feedback: str | None, flags: tuple[str, ...], code: int, message: str
) -> None:
    if feedback is not None:
        describe(folder, feedback)
    environment = ACCESS | {"AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9"}
    ended = folder.run(*EVENTS, *flags, environment=environment)
    assert ended.code == code
    assert all(part in ended.err for part in message.split(".*")), ended.err
