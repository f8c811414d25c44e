"""Intake: what becomes of a row, by table and for any input at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import Mailing
from mailsluice.model import Chunk, Entry, Recipient, Remark, State
from mailsluice.model.bitmap import Bitmap
from mailsluice.sources import Row

MAILING = Mailing(
    from_address="news@example.com", template="welcome", tags={"campaign": "november"}
)
RUN = "run1"


class Unreadable(Mapping[str, str]):
    """A caller's mapping that fails when it is read, as a lazily loaded one can."""

    def __getitem__(self, name: str) -> str:
        raise RuntimeError

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError

    def __len__(self) -> int:
        return 1


def take(*recipients: Any, **options: Any) -> Chunk:
    rows = [Row(0, recipient) for recipient in recipients]
    return Intake(options.pop("mailing", MAILING), RUN, **options).take(rows)


def plainly(seq: int, recipient: Recipient) -> dict[str, Any]:
    """The entry as a dictionary, built without any of the shortcuts; addresses must be plain."""
    fields = {
        "ToAddresses": recipient.to,
        "CcAddresses": recipient.cc,
        "BccAddresses": recipient.bcc,
    }
    tags = {"campaign": "november"} | dict(recipient.tags or {}) | {"mailsluice-id": f"{RUN}-{seq}"}
    data = json.dumps(dict(recipient.data or {}), ensure_ascii=False, separators=(",", ":"))
    entry: dict[str, Any] = {
        "Destination": {
            name: [given] if isinstance(given, str) else list(given)
            for name, given in fields.items()
            if given
        },
        "ReplacementTags": [{"Name": name, "Value": value} for name, value in tags.items()],
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}},
    }
    if recipient.headers:
        entry["ReplacementHeaders"] = [
            {"Name": name, "Value": value} for name, value in recipient.headers.items()
        ]
    return entry


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
TAG = st.text(st.sampled_from("aZ0_-"), min_size=1, max_size=8)
ADDRESS = st.builds("{}@example.com".format, TAG)
ADDRESSES = ADDRESS | st.lists(ADDRESS, max_size=3)
VALID = st.builds(
    Recipient,
    to=ADDRESS | st.lists(ADDRESS, min_size=1, max_size=3),
    cc=ADDRESSES,
    bcc=ADDRESSES,
    data=st.none()
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), JSON, max_size=3),
    tags=st.none() | st.dictionaries(TAG, TAG, max_size=3),
    headers=st.none()
    | st.dictionaries(
        st.sampled_from(["X-A", "X-B"]), st.from_regex(r"[ -~]{1,9}", fullmatch=True)
    ),
    key=st.none() | TAG,
)


@given(st.lists(VALID, max_size=4))
def test_an_encoded_entry_equals_one_built_plainly(recipients: list[Recipient]) -> None:
    chunk = take(*recipients, dedupe="none")
    assert chunk.remarks == []
    expected = [plainly(seq, recipient) for seq, recipient in enumerate(recipients, 1)]
    assert [json.loads(entry.body) for entry in chunk.entries] == expected
    for entry, destination in zip(chunk.entries, (e["Destination"] for e in expected), strict=True):
        assert entry.weight == sum(map(len, destination.values()))
        assert list(entry.to) == destination.get("ToAddresses", [])
        assert list(entry.cc) == destination.get("CcAddresses", [])
        assert list(entry.bcc) == destination.get("BccAddresses", [])


def test_rows_are_numbered_across_calls() -> None:
    intake = Intake(MAILING, RUN)
    rows = [Row(0, Recipient(f"u{i}@example.com")) for i in range(5)]
    chunks = [intake.take(rows[:2]), intake.take([]), intake.take(rows[2:])]
    assert [(chunk.first, chunk.last) for chunk in chunks] == [(1, 2), (3, 2), (3, 5)]
    assert [entry.seq for chunk in chunks for entry in chunk.entries] == [1, 2, 3, 4, 5]


def test_addresses_travel_in_the_form_that_ses_takes() -> None:
    (entry,) = take(Recipient(to=["Änne <a@MÜNCHEN.de>"], cc=" b@example.com ")).entries
    assert entry.to == ("=?utf-8?b?w4RubmU=?= <a@xn--mnchen-3ya.de>",)
    assert entry.cc == ("b@example.com",)
    assert json.loads(entry.body)["Destination"] == {
        "ToAddresses": ["=?utf-8?b?w4RubmU=?= <a@xn--mnchen-3ya.de>"],
        "CcAddresses": ["b@example.com"],
    }


def test_data_is_always_there_and_dates_and_uuids_become_texts() -> None:
    moment = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)
    data = {"day": date(2026, 11, 22), "at": moment, "id": uuid.UUID(int=1), "none": None}
    chunk = take(Recipient("a@example.com"), Recipient("b@example.com", data=data))
    texts = [
        json.loads(entry.body)["ReplacementEmailContent"]["ReplacementTemplate"][
            "ReplacementTemplateData"
        ]
        for entry in chunk.entries
    ]
    assert texts[0] == "{}"
    assert json.loads(texts[1]) == {
        "day": "2026-11-22",
        "at": "2026-11-22T08:30:00+00:00",
        "id": "00000000-0000-0000-0000-000000000001",
        "none": None,
    }


def tags_of(entry: Entry) -> Any:
    return json.loads(entry.body).get("ReplacementTags")


def test_without_the_id_tag_only_the_tags_said_are_sent() -> None:
    tagged = MAILING.model_copy(update={"tags_id": False})
    bare = Mailing(from_address="news@example.com", template="welcome", tags_id=False)
    own = Recipient("b@example.com", tags={"mailsluice-id": "mine"})
    campaign = {"Name": "campaign", "Value": "november"}
    mine = {"Name": "mailsluice-id", "Value": "mine"}
    rows = (Recipient("a@example.com"), own)
    assert [tags_of(e) for e in take(*rows, mailing=tagged).entries] == [
        [campaign],
        [campaign, mine],
    ]
    assert [tags_of(e) for e in take(*rows, mailing=bare).entries] == [None, [mine]]


ONE = "a@example.com"
ASCII_ONLY = "the part before @ has characters outside ASCII; SES has no SMTPUTF8"
NO_JSON = "data: it cannot be written as JSON: "
TAG_SET = "may hold 1 to 256 of A-Z a-z 0-9 _ - and nothing else"

REFUSED: list[tuple[Any, str]] = [
    (Recipient(), "to: there is no address"),
    (Recipient(""), "to: there is no address"),
    (Recipient("  ", cc=" ", bcc=[]), "to: there is no address"),
    (Recipient("example.com"), "to: there is no @"),
    (Recipient("ä@example.com"), f"to: {ASCII_ONLY}"),
    (Recipient("a@☃.com"), "to: the domain is not valid IDNA"),
    (Recipient(ONE, cc="b"), "cc: there is no @"),
    (Recipient(ONE, bcc=[ONE, ""]), "bcc: address 2: it is empty"),
    (Recipient([ONE] * 51), "to, cc, bcc: 51 addresses; SES takes 50 at most"),
    (Recipient([ONE] * 20, [ONE] * 20, [ONE] * 11), "to, cc, bcc: 51 addresses; SES takes 50"),
    (Recipient([ONE, 5]), "to: address 2: it is not text"),  # type: ignore[list-item]  # as NDJSON can
    (Recipient(5), "to: it is neither an address nor a list of addresses"),  # type: ignore[arg-type]  # as NDJSON can
    (Recipient(b"a@b.de"), "to: it is neither"),  # type: ignore[arg-type]  # as a caller can
    (Recipient(ONE, data="x"), "data: it is not a JSON object"),  # type: ignore[arg-type]  # as NDJSON can
    (Recipient(ONE, data=[]), "data: it is not a JSON object"),  # type: ignore[arg-type]  # as NDJSON can
    (Recipient(ONE, data={"a": "x" * 262_137}), "data: 262,145 characters as JSON; SES takes 262,"),
    (Recipient(ONE, data={"a": [{"b": float("nan")}]}), f"{NO_JSON}a number is NaN or infinite"),
    (Recipient(ONE, data={"a": b"x"}), f"{NO_JSON}Type is not JSON serializable: bytes"),
    (Recipient(ONE, data={"a": Decimal("NaN")}), f"{NO_JSON}a number is NaN or infinite"),
    (Recipient(ONE, data={"a": 1j}), f"{NO_JSON}Type is not JSON serializable: complex"),
    (Recipient(ONE, data={"a": "\ud800"}), f"{NO_JSON}str is not valid UTF-8"),
    (Recipient(ONE, data={1: "x"}), f"{NO_JSON}Dict key must be str"),  # type: ignore[dict-item]  # as a caller can
    (Recipient(ONE, data=Unreadable()), "it cannot be read: RuntimeError"),
    (Recipient(ONE, tags={"a b": "x"}), f"tags: a tag name {TAG_SET}"),
    (Recipient(ONE, tags={"a": "é"}), f"tags: the value of tag a {TAG_SET}"),
    (Recipient(ONE, tags={"a": 5}), f"tags: the value of tag a {TAG_SET}"),  # type: ignore[dict-item]  # as NDJSON can
    (Recipient(ONE, tags=["a"]), "tags: it is not an object of names and texts"),  # type: ignore[arg-type]  # as NDJSON can
    (Recipient(ONE, tags={"mailsluice-id": "x"}), "tags: mailsluice-id is set by mailsluice"),
    (Recipient(ONE, headers={"X": "1\nY: 2"}), "headers: the value of header X has a line break"),
    (Recipient(ONE, headers={"X": 5}), "headers: the value of header X is not text"),  # type: ignore[dict-item]  # as NDJSON can
    (Recipient(ONE, headers={f"X-{i}": "1" for i in range(16)}), "headers: 16 headers; SES takes"),
    (Recipient(ONE, key=5), "key: it is not text"),  # type: ignore[arg-type]  # as NDJSON can
    (Recipient(ONE, key="\ud800"), "key: it has half of a character"),
    (("a", "b"), "it cannot be read: ValueError"),
]


@pytest.mark.parametrize(("recipient", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_sent_is_refused_and_stops_no_other(recipient: Any, reason: str) -> None:
    rows = [
        Row(2, Recipient("x@example.com")),
        Row(3, recipient),
        Row(0, recipient),
        Row(7, Recipient("y@example.com")),
    ]
    chunk = Intake(MAILING, RUN).take(rows)
    assert [entry.seq for entry in chunk.entries] == [1, 4]
    assert [(remark.seq, remark.state) for remark in chunk.remarks] == [
        (2, State.REFUSED),
        (3, State.REFUSED),
    ]
    assert chunk.remarks[0].reason.startswith(f"line 3: {reason}")
    assert chunk.remarks[1].reason.startswith(reason)


def test_exactly_fifty_addresses_and_the_longest_data_are_taken() -> None:
    data = {"a": "é" * (262_144 - len('{"a":""}'))}
    (entry,) = take(Recipient([ONE] * 20, [ONE] * 20, [ONE] * 10, data=data)).entries
    assert entry.weight == 50


def test_a_row_that_the_source_could_not_read_is_refused_with_its_problem() -> None:
    rows = [
        Row(5, None, "has 3 fields, the header has 4"),
        Row(6, Recipient(["A <a@example.com>"], key="k"), "is not UTF-8"),
    ]
    assert Intake(MAILING, RUN).take(rows).remarks == [
        Remark(1, State.REFUSED, "", None, "line 5: has 3 fields, the header has 4"),
        Remark(2, State.REFUSED, "A <a@example.com>", "k", "line 6: is not UTF-8"),
    ]


def test_a_refusal_names_the_field_as_the_list_does() -> None:
    names = {"to": "E-Mail", "cc": "Copy", "key": "ID"}
    told = {
        "line 2: E-Mail: there is no @": Recipient("a"),
        "line 3: Copy: address 2: there is no @": Recipient(ONE, cc=[ONE, "a"]),
        "line 4: bcc: there is no @": Recipient(ONE, bcc="a"),
        "line 5: E-Mail, Copy, bcc: 51 addresses; SES takes 50 at most": Recipient([ONE] * 51),
        "line 6: ID: it is not text": Recipient(ONE, key=5),  # type: ignore[arg-type]
        "line 7: has 3 fields: no more": None,
    }
    rows = [
        Row(line, recipient, None if recipient else "has 3 fields: no more", names)
        for line, recipient in enumerate(told.values(), 2)
    ]
    assert [remark.reason for remark in Intake(MAILING, RUN).take(rows).remarks] == [*told]


def test_a_remark_can_be_stored_whatever_the_row_held() -> None:
    (remark,) = take(Recipient("\ud800" * 1000, key="k\udfff")).remarks
    assert remark.address == "?" * 320
    assert remark.key == "k?"


def states(chunk: Chunk) -> list[str]:
    """One letter a row: sent, duplicate or refused."""
    letters = {entry.seq: "s" for entry in chunk.entries}
    letters |= {remark.seq: remark.state.value[0] for remark in chunk.remarks}
    return [letters.get(seq, ".") for seq in range(chunk.first, chunk.last + 1)]


def test_the_same_normalised_address_is_a_duplicate() -> None:
    chunk = take(
        Recipient("Ann@münchen.de"),
        Recipient("ann@XN--MNCHEN-3YA.de"),
        Recipient('"A" <ANN@MÜNCHEN.DE>', cc="other@example.com"),
        Recipient(cc="cc@example.com"),
        Recipient(bcc=["CC@example.com"]),
        Recipient("new@example.com", cc="cc@example.com"),
    )
    assert states(chunk) == ["s", "d", "d", "s", "d", "s"]
    assert chunk.remarks[0] == Remark(
        2, State.DUPLICATE, "ann@XN--MNCHEN-3YA.de", None, "to: the same address came earlier"
    )


def test_by_key_only_the_same_key_is_a_duplicate() -> None:
    chunk = take(
        Recipient("a@example.com", key="1"),
        Recipient("a@example.com", key="2"),
        Recipient("b@example.com", key="1"),
        Recipient("a@example.com"),
        Recipient("a@example.com", key=""),
        dedupe="key",
    )
    assert states(chunk) == ["s", "s", "d", "s", "s"]
    assert chunk.remarks[0].reason == "key: the same key came earlier"
    assert [entry.key for entry in chunk.entries] == ["1", "2", None, None]


def test_without_dedupe_every_row_is_sent() -> None:
    assert states(take(Recipient(ONE, key="1"), Recipient(ONE, key="1"), dedupe="none")) == [
        "s",
        "s",
    ]


def test_a_refused_row_makes_no_later_one_a_duplicate() -> None:
    bad, good = Recipient(ONE, tags={"a b": "x"}), Recipient(ONE)
    assert states(take(bad, good, good)) == ["r", "s", "d"]


@pytest.mark.parametrize("dedupe", ["address", "key", "none"])
@given(
    rows=st.lists(
        st.builds(
            Recipient,
            to=st.sampled_from(["a@example.com", "A@example.com", "b@example.com", "bad"]),
            data=st.sampled_from([None, {}, {"a": b""}]),
            key=st.sampled_from([None, "1", "2"]),
        ),
        max_size=8,
    ),
    settled=st.sets(st.integers(1, 8)),
)
def test_a_resume_judges_what_is_not_settled_as_the_first_run_did(
    dedupe: str, rows: list[Recipient], settled: set[int]
) -> None:
    before = take(*rows, dedupe=dedupe)
    remarked = Bitmap(remark.seq for remark in before.remarks)
    after = take(*rows, dedupe=dedupe, settled=Bitmap(settled), remarked=remarked)
    assert after.entries == [entry for entry in before.entries if entry.seq not in settled]
    assert after.remarks == [remark for remark in before.remarks if remark.seq not in settled]


def test_a_run_id_outside_the_tag_charset_is_refused() -> None:
    with pytest.raises(ValueError, match="run_id may hold"):
        Intake(MAILING, "a b")


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=3)
    | ADDRESS
    | st.just(Unreadable()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.builds(
            Row,
            st.integers(0, 3),
            st.none()
            | ANYTHING
            | st.builds(Recipient, *[ANYTHING] * 7)
            | st.builds(Recipient, ADDRESS, data=ANYTHING, tags=ANYTHING, headers=ANYTHING)
            | VALID,
            st.none() | st.text(st.characters()),
        ),
        max_size=5,
    )
)
def test_every_row_of_anything_at_all_becomes_an_entry_or_a_storable_remark(
    rows: list[Row],
) -> None:
    chunk = Intake(MAILING, RUN).take(rows)
    seqs = [entry.seq for entry in chunk.entries] + [remark.seq for remark in chunk.remarks]
    assert sorted(seqs) == list(range(1, len(rows) + 1))
    for entry in chunk.entries:
        assert isinstance(json.loads(entry.body), dict)
    for remark in chunk.remarks:
        assert (remark.reason + remark.address + (remark.key or "")).encode()
