"""The mail as one recipient would get it. Pure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any

import orjson

from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.rendering.findings import Finding as Fault
from mailsluice.mailing.rendering.template import Rendering
from mailsluice.model import Entry

NO_REMOTE_CONTENT = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'"
)
"""Content-Security-Policy under which a previewed mail loads nothing, and runs nothing."""

FRAME_PIXELS = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One recipient's mail, without its attachments."""

    row: int
    sender: str
    reply_to: tuple[str, ...]
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    headers: Mapping[str, str]
    tags: Mapping[str, str]
    data: Mapping[str, Any]
    """The mailing's data and the row's, merged as SES merges them."""
    subject: str
    text: str | None
    html: str | None
    findings: tuple[Fault, ...] = field(default=())
    """What is wrong with the row. If there is any of these, SES may never send the mail."""

    def message(self) -> EmailMessage:
        """Return the message by RFC 5322; SES adds Date, Message-ID and its signatures."""
        made = EmailMessage(policy=SMTPUTF8)
        made["From"] = self.sender
        for name, addresses in (("To", self.to), ("Cc", self.cc), ("Reply-To", self.reply_to)):
            if addresses:
                made[name] = ", ".join(addresses)
        made["Subject"] = " ".join(self.subject.split())
        for name, value in self.headers.items():
            made[name] = value
        if self.text is not None or self.html is None:
            made.set_content(self.text or "")
        if self.html is not None:
            (made.set_content if self.text is None else made.add_alternative)(
                self.html, subtype="html"
            )
        return made

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.message().as_bytes())

    def page(self) -> str:
        """Return an HTML page in which the mail loads nothing from elsewhere, and runs nothing."""
        return (
            f'<!doctype html><meta charset="utf-8"><title>{html.escape(self.subject)}</title>'
            f'<meta http-equiv="Content-Security-Policy" content="{NO_REMOTE_CONTENT}">'
            f"{self._repr_html_()}"
        )

    def _repr_html_(self) -> str:
        """As a notebook shows it: the headers, and the mail in a frame of its own."""
        rows = "".join(
            f"<tr><th align=left>{html.escape(name)}<td>{html.escape(value)}"
            for name, value in self.lines()
        )
        return f"<table>{rows}</table>{self._frame()}"

    def _frame(self) -> str:
        shown = self.html
        if shown is None:
            shown = f"<pre>{html.escape(self.text or '')}</pre>"
        policy = f'<meta http-equiv="Content-Security-Policy" content="{NO_REMOTE_CONTENT}">'
        return (
            f'<iframe sandbox="" srcdoc="{html.escape(policy + shown)}" width="100%" '
            f'height="{FRAME_PIXELS}"></iframe>'
        )

    def lines(self) -> list[tuple[str, str]]:
        """List the facts about the mail besides its content."""
        addresses = (("From", (self.sender,)), ("To", self.to), ("Cc", self.cc), ("Bcc", self.bcc))
        told = [(name, ", ".join(given)) for name, given in addresses if given]
        if self.reply_to:
            told.append(("Reply-To", ", ".join(self.reply_to)))
        told.append(("Subject", self.subject))
        told += self.headers.items()
        told += [(f"tag {name}", value) for name, value in self.tags.items()]
        told.append(("size", f"{self.size:,} bytes"))
        told += [("wrong", f"{each.fault.value}: {each.place.name}") for each in self.findings]
        return told


def preview(
    mailing: Mailing, entry: Entry, data: Mapping[str, Any], rendering: Rendering
) -> Preview:
    """Make the mail of an entry from intake."""
    body = orjson.loads(entry.body)
    return Preview(
        row=entry.seq,
        sender=mailing.from_address,
        reply_to=tuple(mailing.reply_to),
        to=entry.to,
        cc=entry.cc,
        bcc=entry.bcc,
        headers={**mailing.headers, **_pairs(body.get("ReplacementHeaders", ()))},
        tags={**mailing.tags, **_pairs(body.get("ReplacementTags", ()))},
        data=data,
        subject=rendering.subject or "",
        text=rendering.text,
        html=rendering.html,
        findings=tuple(rendering.findings),
    )


def _pairs(listed: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in listed}
