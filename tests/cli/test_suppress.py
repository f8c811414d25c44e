"""`mailsluice suppress`: add, remove, has, import, export, forget."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from mailsluice.journal import Intent
from mailsluice.suppression.scopes import ALL, MAILINGS, Reason
from mailsluice.suppression.store import Suppressions

if TYPE_CHECKING:
    from tests.cli.conftest import Folder

ANN = "ann@example.com"
TOO_LONG = f"{'x' * 250}@example.com"
STORE = ("--store", "suppressions.db")


def suppress(folder: Folder, *arguments: str, code: int = 0, stdin: bytes = b"") -> Any:
    """Run a command on the folder's store; what it prints, parsed."""
    ended = folder.run("suppress", *arguments, *STORE, "--json", stdin=stdin)
    assert ended.code == code, (ended.out, ended.err)
    return [orjson.loads(line) for line in ended.out.splitlines()]


def exported(folder: Folder, *arguments: str, code: int = 0) -> str:
    ended = folder.run("suppress", "export", *STORE, *arguments)
    assert ended.code == code, ended.err
    return ended.out


def test_an_address_is_added_found_and_removed(folder: Folder) -> None:
    assert suppress(folder, "add", "Ann <Ann@Example.com>", "--note", "her letter") == [
        {"suppressed": 1, "new": 1}
    ]
    assert suppress(folder, "add", ANN) == [{"suppressed": 1, "new": 0}]
    [told] = suppress(folder, "has", ANN)
    assert (told["address"], told["found"][0]["source"]) == (ANN, "her letter")
    assert suppress(folder, "has", ANN, "bob@example.com", code=1)[1]["found"] == []
    assert suppress(folder, "remove", ANN) == [{"removed": 1}]
    assert suppress(folder, "remove", ANN, code=1) == [{"removed": 0}]
    suppress(folder, "has", ANN, code=1)


def test_an_unsubscribed_address_is_suppressed_from_mailings_alone(folder: Folder) -> None:
    suppress(folder, "add", ANN, "--reason", "unsubscribe", "--scope", "news")
    suppress(folder, "has", ANN, "--to", "news")
    suppress(folder, "has", ANN, "--to", "offers", code=1)


def test_a_list_comes_from_standard_input(folder: Folder) -> None:
    told = suppress(folder, "add", "-", stdin=b"ann@example.com\n\n b@b\xc3\xbccher.example \n")
    assert told == [{"suppressed": 2, "new": 2}]
    suppress(folder, "has", "b@xn--bcher-kva.example")


def test_one_wrong_address_of_a_list_names_its_line_and_adds_nobody(folder: Folder) -> None:
    ended = folder.run("suppress", "add", "-", *STORE, stdin=f"{ANN}\n{TOO_LONG}\n".encode())
    assert ended.code == 2
    assert "standard input, line 2: " in ended.err
    assert "nothing was changed" in ended.err
    assert not (folder.path / "suppressions.db").exists()


@pytest.mark.parametrize(
    ("format_", "text", "reason", "scope"),
    [
        (
            "ses",
            '{"SuppressedDestinationSummaries":[{"EmailAddress":"Ann@example.com",'  # noqa: ISC004
            '"Reason":"COMPLAINT","LastUpdateTime":1700000000.5}]}',
            "complaint",
            MAILINGS,
        ),
        ("mailgun", "address,code,error,created_at\nann@example.com,550,x,", "bounce", ALL),
        (
            "sendgrid",
            "status,reason,email,created\n5.1.1,no,ann@example.com,1700000000",
            *("bounce", ALL),
        ),
        (
            "postmark",
            '{"Suppressions":[{"EmailAddress":"ann@example.com","SuppressionReason":'  # noqa: ISC004
            '"HardBounce","CreatedAt":"2023-11-14T22:13:20Z"}]}',
            *("bounce", ALL),
        ),
        ("csv", "E-Mail;Reason\nann@example.com;unsubscribed\n", "unsubscribe", MAILINGS),
    ],
)
def test_each_format_is_imported(
    folder: Folder, format_: str, text: str, reason: str, scope: str
) -> None:
    folder.write("list", text)
    told = suppress(folder, "import", "list", "--format", format_)
    assert told == [{"suppressed": 1, "new": 1, "refused": 0}]
    [[found]] = [told["found"] for told in suppress(folder, "has", ANN)]
    assert (found["reason"], found["scope"], found["source"]) == (reason, scope, format_)


def test_a_row_that_cannot_be_used_is_named_and_the_others_are_imported(folder: Folder) -> None:
    folder.write("list.csv", f"email,reason\n{ANN},bounce\n{TOO_LONG},bounce\n")
    ended = folder.run("suppress", "import", "list.csv", *STORE)
    assert ended.code == 1
    assert "list.csv: row 2: its address: " in ended.err
    assert ended.out == "1 suppressed, 1 new, 1 rows refused\n"
    suppress(folder, "has", ANN)


def test_a_file_that_is_no_list_is_refused_by_name(folder: Folder) -> None:
    (folder.path / "list.csv").write_bytes(b"\xff\xfe")
    ended = folder.run("suppress", "import", "list.csv", *STORE)
    assert ended.code == 2
    assert "list.csv: it is not UTF-8" in ended.err


def test_a_list_in_parts_is_imported_whole(folder: Folder) -> None:
    rows = "".join(f"user{number}@example.com\n" for number in range(1_000))
    folder.write("list.csv", f"email\n{rows}")
    told = suppress(folder, "import", "list.csv", "--reason", "manual", "--scope", "all")
    assert told == [{"suppressed": 1_000, "new": 1_000, "refused": 0}]


def test_an_export_can_be_imported_again_with_scope_and_expiry(folder: Folder) -> None:
    suppress(folder, "add", ANN, "--reason", "unsubscribe", "--scope", "news", "--days", "30")
    folder.write("list.csv", was := exported(folder))
    (folder.path / "suppressions.db").unlink()
    suppress(folder, "import", "list.csv")
    columns = ("address", "reason", "scope", "at", "expires")
    again, before = (
        [{name: row[name] for name in columns} for row in csv.DictReader(io.StringIO(text))]
        for text in (exported(folder), was)
    )
    assert again == before != []


def test_an_export_for_ses_has_what_its_list_knows_and_counts_the_rest(folder: Folder) -> None:
    suppress(folder, "add", ANN, "--reason", "bounce")
    suppress(folder, "add", "bob@example.com", "--reason", "unsubscribe")
    assert exported(folder, "--format", "ses", code=1) == "ann@example.com,BOUNCE\n"


def test_with_hashes_alone_no_file_of_the_store_has_an_address(folder: Folder) -> None:
    """S4."""
    folder.write("list.csv", f"email,reason\n{ANN},bounce\n")
    suppress(folder, "import", "list.csv", "--hash-only")
    suppress(folder, "has", ANN)
    assert not _holds_ann(folder.path)
    suppress(folder, "add", ANN, "--reason", "complaint")
    assert _holds_ann(folder.path), "the negative control"
    suppress(folder, "forget", ANN)
    assert not _holds_ann(folder.path)
    suppress(folder, "has", ANN)


def _holds_ann(path: Path) -> bool:
    return any(b"ann@" in each.read_bytes().lower() for each in path.glob("suppressions.db*"))


def test_the_store_is_found_by_a_mailing_or_workers_file(folder: Folder) -> None:
    folder.write_mailing("[recipients]", '[suppression]\npath = "whom/not.db"\n[recipients]')
    (folder.path / "whom").mkdir()
    folder.write("worker.toml", '[folder]\npath = "mailings"\n[suppression]\npath = "whom/not.db"')
    assert folder.run("suppress", "add", ANN, "--file", "mailing.toml").code == 0
    assert folder.run("suppress", "has", ANN, "--file", "worker.toml").code == 0
    store = Suppressions.open(folder.path / "whom" / "not.db")
    assert [each.reason for each in store.entries(ANN)] == [Reason.MANUAL]
    store.close()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("has", ANN), "give --store FILE, or --file with [suppression] path"),
        (("has", ANN, "--store", "none.db"), "none.db: there is no such store"),
        (("has", ANN, "--file", "mailing.toml"), "mailing.toml: it has no [suppression]"),
        (("add", ANN, "--store", "s.db", "--scope", "two words"), "--scope: it must be"),
        (("add", ANN, "--store", "s.db", "--reason", "spite"), "--reason: it must be one of"),
        (("import", "none.csv", "--store", "s.db"), "none.csv: No such file"),
        (("export", "--store", "s.db", "--format", "xml"), "--format: it must be one of"),
        (("add", ANN, "--store", "s.db", "--file", "mailing.toml"), "exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said_with_a_remedy(
    folder: Folder, arguments: tuple[str, ...], why: str
) -> None:
    ended = folder.run("suppress", *arguments)
    assert ended.code == 2
    assert why in " ".join(ended.err.replace("│", " ").split())


@pytest.mark.ses_emulator(account={"rate_per_s": 50, "daily_max": -1})
def test_s1_a_running_mailing_leaves_out_who_is_suppressed_meanwhile(folder: Folder) -> None:
    """By another process; everybody has been read when it is."""
    folder.write_mailing("[recipients]", '[suppression]\npath = "suppressions.db"\n[recipients]')
    folder.write_list(300)
    with folder.started() as process:
        folder.until(process, accepted=1)
        [told] = suppress(folder, "add", *(f"user{number}@example.com" for number in (299, 300)))
        added_at = time.time()
        folder.end(process)
    assert told["new"] == 2
    assert folder.counts() == {"read": 300, "suppressed": 2, "sent": 298}
    assert folder.states()["user300@example.com"] == "suppressed"
    late = [each for each in folder.records() if isinstance(each, Intent) and each.at > added_at]
    assert late, "the mailing had not been sent when they were suppressed"
    assert not {299, 300} & {seq for each in late for seq in each.seqs}
    assert folder.audit().agree


# --- SES's list of the account --------------------------------------------------------------------

LISTED = {
    f"user{number}@example.com": {"reason": "BOUNCE", "at": 1.7e9 + number}
    for number in range(2500)
}


def on_ses(folder: Folder) -> dict[str, str]:
    """SES's list, read into a store of its own."""
    (folder.path / "other.db").unlink(missing_ok=True)
    store = ("--store", "other.db")
    assert folder.run("suppress", "import", "--from-ses", *store).code == 0
    ended = folder.run("suppress", "export", "--format", "ndjson", *store)
    read = map(orjson.loads, ended.out.splitlines())
    return {each["address"]: each["reason"] for each in read}


@pytest.mark.ses_emulator(resources={"suppressed": LISTED | {"not an address": {}}})
def test_all_of_sess_list_is_imported_page_by_page(folder: Folder) -> None:
    told = suppress(folder, "import", "--from-ses")
    assert told == [{"listed": 2501, "new": 2500, "refused": 1}]
    assert folder.emulator.statistics().reading_calls["ListSuppressedDestinations"] == 3
    [[found]] = [told["found"] for told in suppress(folder, "has", "user2499@example.com")]
    assert (found["reason"], found["source"], found["at"]) == (
        *("bounce", "ses"),
        "2023-11-14T22:54:59Z",
    )


@pytest.mark.ses_emulator(resources={"suppressed": {"old@example.com": {"at": 1.7e9}}})
def test_a_sync_goes_both_ways_and_the_next_one_brings_only_what_is_new(folder: Folder) -> None:
    suppress(folder, "add", ANN, "--reason", "bounce")
    suppress(folder, "add", "bob@example.com", "--reason", "unsubscribe")
    assert suppress(folder, "sync") == [{"listed": 1, "new": 1, "refused": 0, "put": 1}]
    assert on_ses(folder) == {"old@example.com": "bounce", ANN: "bounce"}
    suppress(folder, "add", "eve@example.com", "--reason", "complaint")
    [told] = suppress(folder, "sync")
    assert (told["listed"], told["put"]) == (1, 1), "what was put there, and not the old one"
    assert on_ses(folder)["eve@example.com"] == "complaint"
    [told] = suppress(folder, "sync")
    assert told["put"] == 0


@pytest.mark.ses_emulator(resources={"suppressed": {ANN: {}, "bob@example.com": {}}})
def test_an_address_is_removed_from_both(folder: Folder) -> None:
    suppress(folder, "add", ANN)
    assert suppress(folder, "remove", ANN, "--from-ses") == [{"removed": 1}]
    assert on_ses(folder) == {"bob@example.com": "bounce"}


@pytest.mark.ses_emulator(resources={"denied": ["ListSuppressedDestinations"]})
def test_what_ses_does_not_permit_is_said(folder: Folder) -> None:
    ended = folder.run("suppress", "sync", *STORE)
    assert ended.code == 2
    assert "ListSuppressedDestinations: the credentials may not read it" in ended.err
