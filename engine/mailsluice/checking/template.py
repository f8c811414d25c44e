"""What a mailing's template does with its rows: the template, and its defects as findings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mailsluice.checking.findings import Finding, finding
from mailsluice.checking.rows import Seen
from mailsluice.mailing.mailing import MESSAGE_BYTES_MAX, Mailing
from mailsluice.mailing.rendering.findings import Defect, Fault
from mailsluice.mailing.rendering.template import Source, Template
from mailsluice.ses import inspector
from mailsluice.ses.inspector import Unread, Why

SUBJECT_BYTES_MAX = 998
"""Of a header line (RFC 5322, 2.1.1)."""

BASE64_GROWTH = 1.37
"""Bytes of base64 with its line ends for each byte (RFC 2045, 6.8)."""

_CODES = {
    Fault.MISSING: "VARIABLE_MISSING",
    Fault.NULL: "VARIABLE_NULL",
    Fault.HELPER: "BLOCK_TAG_WRONG",
    Fault.PARTIAL: "PARTIAL_UNDEFINED",
    Fault.FORM: "VALUE_FORM",
    Fault.UNKNOWN: "TEMPLATE_UNJUDGED",
}

_WHAT = {
    Fault.MISSING: 'the template prints "{name}"{block}, which is missing in {rows}',
    Fault.NULL: 'the template prints "{name}"{block}, which is null in {rows}',
    Fault.HELPER: 'SES knows no block "{name}": {rows} would not be rendered',
    Fault.PARTIAL: 'the template does not define the partial "{name}": {rows} would not be '
    "rendered",
    Fault.FORM: '"{name}"{block} in {rows}: {note}',
    Fault.UNKNOWN: 'SES does not document what it makes of "{name}" in {rows}{note}',
}

_tag = re.compile(r"\{\{(.*?)\}\}", re.DOTALL).findall
_bracketed = re.compile(r"\[([^\]]*)\]").findall
_word = re.compile(r"[^\s!\"#%&'()*+,./;<=>@\[\\\]^`{|}~]+").findall


def source_of(mailing: Mailing, stored: inspector.Template | None) -> Source | None:
    """Return the template's parts; None if a stored one could not be read."""
    if mailing.content is not None:
        content = mailing.content
        return Source(content.subject, content.text or None, content.html or None)
    if stored is None:
        return None
    return Source(stored.subject, stored.text or None, stored.html or None)


def compiled(mailing: Mailing, source: Source) -> Template:
    """Compile the template that judges rows. Raises TemplateError."""
    return Template.inline(source) if mailing.content is not None else Template.stored(source)


def has_tags(source: Source) -> bool:
    """Whether rows make a difference to it."""
    return any("{{" in part for part in source if part)


def names_in(source: Source) -> frozenset[str]:
    """Every name that may be looked up in the data, and some that are not."""
    tags = [tag for part in source if part for tag in _tag(part)]
    return frozenset(name for tag in tags for name in (*_word(tag), *_bracketed(tag)))


def judge_stored(found: inspector.Template | Unread | None, name: str) -> Iterator[Finding]:
    """Whether there is a stored template of that name."""
    if isinstance(found, Unread) and found.why is Why.MISSING:
        yield finding("TEMPLATE_NOT_FOUND", f"there is no template {name} in this region")


def judge(seen: Seen) -> Iterator[Finding]:
    """Find what the rows lack, and how large the messages become."""
    for defect in seen.defects:
        yield _of(defect)
    if seen.message_bytes * BASE64_GROWTH > MESSAGE_BYTES_MAX:
        yield finding(
            "MESSAGE_TOO_LARGE",
            f"the message of row {seen.message_row:,} has {seen.message_bytes:,} bytes as text",
        )
    if seen.subject_bytes > SUBJECT_BYTES_MAX:
        yield finding(
            "SUBJECT_TOO_LONG",
            f"the subject of row {seen.subject_row:,} has {seen.subject_bytes:,} bytes",
        )


def _of(defect: Defect) -> Finding:
    rows = f"{defect.count:,} row{'s'[: defect.count > 1]}"
    lines = ", ".join(f"{part} line {line}" for part, line in defect.lines.items())
    note = f": {defect.note}" if defect.note and defect.fault is Fault.UNKNOWN else defect.note
    text = _WHAT[defect.fault].format(
        name=defect.name,
        block=f" (in {defect.block})" if defect.block else "",
        rows=rows,
        note=note,
    )
    listed = ", ".join(f"{row:,}" for row in defect.rows)
    more = ", ..." if defect.count > len(defect.rows) else ""
    near = f'; did you mean "{defect.near_miss}"?' if defect.near_miss else ""
    plural = "row" if len(defect.rows) == 1 else "rows"
    return finding(_CODES[defect.fault], f"{text} ({plural} {listed}{more}; {lines}){near}")
