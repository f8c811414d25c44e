"""One-click links at a worker: only POST unsubscribes, every answer is the same."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mailsluice.emulator import Emulator
from mailsluice.suppression import links
from mailsluice.suppression.links import Unsubscription
from mailsluice.suppression.scopes import Reason
from mailsluice.suppression.store import Suppressions
from tests.support.waiting import PATIENCE_S
from tests.support.worker import WORKER, Running, command, worker

ANN = "ann@example.com"
TOKEN = "a secret of sixteen"
SERVING = (
    WORKER.replace(
        "port = 0\n", f'port = 0\nunsubscribe = true\ntoken = "{TOKEN.replace(" ", "-")}"\n'
    )
    + '[suppression]\npath = "suppressions.db"\n'
)

FEW = """\
from mailsluice.worker.http import unsubscribing
unsubscribing.REQUESTS_PER_S = 3
from mailsluice.cli import main
main()
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Suppressions]:
    with closing(Suppressions.open(tmp_path / "suppressions.db")) as opened:
        yield opened


def token(store: Suppressions, address: str = ANN, scope: str = "news") -> str:
    asked = Unsubscription(store.hash(address), scope, "run-7")
    return links.token(store.keys.links, asked)


def ask(running: Running, method: str, path: str, **headers: str) -> tuple[int, str, str]:
    """Status, body, and where it leads."""
    body = b"List-Unsubscribe=One-Click" if method == "POST" else None
    request = urllib.request.Request(f"{running.url}{path}", body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode(), answer.url
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.url


def test_only_post_unsubscribes_and_every_answer_is_the_same(
    tmp_path: Path, ses_emulator: Emulator, store: Suppressions
) -> None:
    link = f"/u/{token(store)}"
    changed = f"/u/{token(store, 'bob@example.com')[:-1]}a"
    with worker(tmp_path, ses_emulator, SERVING, becomes_ready=False) as running:
        shown = ask(running, "GET", link, Host="u.example.com")
        assert shown[0] == 200
        assert '<form method="post">' in shown[1]
        assert shown[:2] == ask(running, "GET", changed)[:2]
        assert list(store.entries()) == [], "a scanner of mail has opened the links"
        # From our page, in a browser, through a proxy; and from a mail program.
        origin = {"Host": "127.0.0.1", "Origin": "https://u.example.com"}
        done = ask(running, "POST", link, **origin)
        assert done[0] == 200
        assert done[2].endswith(link), "nothing is redirected"
        assert "unsubscribed" in done[1]
        assert done[:2] == ask(running, "POST", link)[:2] == ask(running, "POST", changed)[:2]
        assert ask(running, "POST", "/u/no-token")[0] == 404
        assert ask(running, "GET", "/status")[0] == 401, "the page needs its token"
    [found] = store.entries()
    assert (found.address, found.reason, found.scope, found.source) == (
        *(None, Reason.UNSUBSCRIBE),
        *("news", "run-7"),
    )
    [found] = store.entries(ANN)


def test_too_many_requests_are_told_to_come_again(
    tmp_path: Path, ses_emulator: Emulator, store: Suppressions
) -> None:
    link = f"/u/{token(store)}"
    with worker(tmp_path, ses_emulator, SERVING, program=FEW, becomes_ready=False) as running:
        found = {ask(running, "POST", link)[0] for _ in range(30)}
    assert found == {200, 429}


def test_without_the_switch_there_are_no_links(
    tmp_path: Path, ses_emulator: Emulator, store: Suppressions
) -> None:
    text = WORKER + '[suppression]\npath = "suppressions.db"\n'
    with worker(tmp_path, ses_emulator, text, becomes_ready=False) as running:
        assert ask(running, "POST", f"/u/{token(store)}")[0] == 404
    assert list(store.entries()) == []


def test_the_switch_needs_a_store(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text(WORKER + "unsubscribe = true\n")
    ended = command(tmp_path, "worker")
    assert ended.code == 2
    assert "[http] unsubscribe: it needs a [suppression] table" in ended.err
