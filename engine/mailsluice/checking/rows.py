"""Folds a list, chunk by chunk, into what a check says about its rows. No I/O.

`Quick` finds the rows that the template cannot be rendered for, and no more. `Thorough` takes in
and renders each row as well, and looks at the list as a whole. Both remember the first offending
rows only, so that memory does not grow with the list; for the same reason they do not compare rows
with each other, and judge a duplicate like any other row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailsluice.checking import headers
from mailsluice.checking.recipients import Impression, Impressions
from mailsluice.mailing import fields
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.rendering.findings import Defects, Verdict, verdict_of
from mailsluice.mailing.rendering.findings import Finding as Fault
from mailsluice.mailing.rendering.merging import merged
from mailsluice.mailing.rendering.template import Rendering, Template
from mailsluice.model import SIMULATOR_DOMAIN, Entry, State, exact_json
from mailsluice.sources import Row

SAMPLES_MAX = 3
"""Rows that the template cannot be judged for, and that SES is asked about."""

SANDBOX_MAX = 10
"""Recipients that are looked up in the sandbox."""

RUN_ID = "check"
"""Stands where a run's id would."""


class Sample(NamedTuple):
    """A row that is looked at more closely."""

    row: int
    entry: Entry
    data: dict[str, Any]
    """As SES merges it."""


@dataclass(slots=True)
class Seen:
    """What the rows have shown so far."""

    read: int = 0
    accepted: int = 0
    refused: int = 0
    weight: int = 0
    """Addresses of those that are accepted: what the quota counts."""
    defects: Defects = field(default_factory=Defects)
    first: Sample | None = None
    """The first row that can be sent."""
    unknown: list[Sample] = field(default_factory=list)
    """The first rows that cannot be judged."""
    to_look_up: dict[str, int] = field(default_factory=dict)
    """The first addresses that are not the mailbox simulator's, each with its row."""
    message_bytes: int = 0
    """Of the largest message, before base64, with the attachments in base64."""
    message_row: int = 0
    subject_bytes: int = 0
    """Of the longest subject."""
    subject_row: int = 0
    bad_links: int = 0
    bad_link_row: int = 0
    impression: Impression | None = None
    digest: str | None = None
    """Of the list's bytes; None if it has none, or not all were read."""


class Quick:
    """Judges the rows of one list by the template. Takes in those that it finds fault with."""

    def __init__(self, mailing: Mailing, template: Template | None) -> None:
        self.seen = Seen()
        self._intake = Intake(mailing, RUN_ID, "none")
        self._template = template
        self._defaults = _as_json(mailing.data)

    def add(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""
        first = self.seen.read + 1
        self.seen.read += len(rows)
        if self._template is None:
            return
        judge = self._template.judge
        for number, row in enumerate(rows, first):
            if row.recipient is None:
                continue
            try:
                data = _merged(self._defaults, row)
            except Exception:  # noqa: BLE001, S112  # a caller's mapping: intake refuses it
                continue
            if findings := judge(data):
                chunk = self._intake.number([row], number)
                for entry in chunk.entries:  # none if it is refused: then it is not sent
                    self._blame(entry, data, findings)

    def end(self) -> Seen:
        """Return what all rows have shown."""
        return self.seen

    def _blame(self, entry: Entry, data: dict[str, Any], findings: Sequence[Fault]) -> None:
        seen = self.seen
        seen.defects.add(entry.seq, findings)
        if verdict_of(findings) is Verdict.UNKNOWN and len(seen.unknown) < SAMPLES_MAX:
            seen.unknown.append(Sample(entry.seq, entry, data))


class Thorough(Quick):
    """As `Quick`, and takes in and renders every row, and looks at the list as a whole.

    `disposable` are domains of throw-away mailboxes.
    """

    def __init__(
        self,
        mailing: Mailing,
        template: Template | None,
        *,
        disposable: Collection[str] = frozenset(),
        attachment_bytes: int = 0,
    ) -> None:
        super().__init__(mailing, template)
        self._impressions = Impressions(disposable)
        self._attachment_bytes = attachment_bytes

    def add(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""
        seen = self.seen
        first = seen.read + 1
        chunk = self._intake.number(rows, first)
        seen.read += len(rows)
        seen.accepted += len(chunk.entries)
        seen.refused += sum(remark.state is State.REFUSED for remark in chunk.remarks)
        seen.weight += sum([entry.weight for entry in chunk.entries])
        self._impressions.add(rows)
        for entry in chunk.entries:
            self._look(entry, rows[entry.seq - first])

    def end(self) -> Seen:
        """Return what all rows have shown."""
        self.seen.impression = self._impressions.impression()
        return self.seen

    def _look(self, entry: Entry, row: Row) -> None:
        assert row.recipient is not None  # intake has accepted it
        if self._template is not None or self.seen.first is None:
            data = _merged(self._defaults, row)
            if self.seen.first is None:
                self.seen.first = Sample(entry.seq, entry, data)
            if self._template is not None:
                rendering = self._template.render(data)
                if rendering.findings:
                    self._blame(entry, data, rendering.findings)
                self._measure(entry.seq, rendering)
        if row.recipient.headers:
            self._look_at_headers(entry.seq, row.recipient.headers)
        if len(self.seen.to_look_up) < SANDBOX_MAX:
            self._note_for_sandbox(entry)

    def _measure(self, row: int, rendering: Rendering) -> None:
        seen = self.seen
        subject = rendering.subject or ""
        # A character has 4 bytes at most: most rows need no encoding.
        if 4 * len(subject) > seen.subject_bytes:
            size = len(subject.encode())
            if size > seen.subject_bytes:
                seen.subject_bytes, seen.subject_row = size, row
        text, html = rendering.text or "", rendering.html or ""
        characters = len(subject) + len(text) + len(html)
        if self._attachment_bytes + 4 * characters > seen.message_bytes:
            size = self._attachment_bytes + sum(
                len(part.encode()) for part in (subject, text, html)
            )
            if size > seen.message_bytes:
                seen.message_bytes, seen.message_row = size, row

    def _look_at_headers(self, row: int, own: Mapping[str, str]) -> None:
        for name, value in own.items():
            if name.lower() == headers.LINK and not headers.is_link(value):
                self.seen.bad_links += 1
                self.seen.bad_link_row = self.seen.bad_link_row or row

    def _note_for_sandbox(self, entry: Entry) -> None:
        for address in (*entry.to, *entry.cc, *entry.bcc):
            bare = address.rpartition("<")[2].removesuffix(">").lower()
            if not bare.endswith(SIMULATOR_DOMAIN):
                self.seen.to_look_up.setdefault(bare, entry.seq)


def data_of(defaults: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Merge the data that SES renders a row with: the row's over the mailing's."""
    return _merged(_as_json(defaults), row)


def _merged(defaults: dict[str, Any], row: Row) -> dict[str, Any]:
    assert row.recipient is not None
    own = row.recipient.data
    if not own:
        return defaults
    # What a file holds is JSON already; a caller's data may hold dates and the like.
    return merged(defaults, own if row.line else _as_json(own))


def _as_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data as SES reads them: dates are texts, numbers keep their digits."""
    found: dict[str, Any] = exact_json.loads(fields.encode_data(data).encode())
    return found
