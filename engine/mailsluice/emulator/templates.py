"""Templates that the emulated account has, and what becomes of a row. Pure.

SES gives a MessageId for an entry whose data do not fit its template, and publishes a Rendering
Failure; TestRenderEmailTemplate refuses the same data at once (developer guide, "Advanced email
personalization").
"""

from __future__ import annotations

from email.message import EmailMessage
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.handlebars import Handlebars, RenderingFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

PREPARED_MAX = 512
"""Parts of templates that are kept in the form in which they are rendered."""

_strict = ConfigDict(extra="forbid")
_prepared = lru_cache(PREPARED_MAX)(Handlebars)


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Template:
    """A template's parts. One without parts renders for everybody: only its name is known."""

    subject: str | None = None
    text: str | None = None
    html: str | None = None

    @model_validator(mode="after")
    def _can_be_rendered(self) -> Template:
        for part in self._parts():
            _prepared(part)
        return self

    @property
    def has_tags(self) -> bool:
        """False if it is the same for everybody."""
        return any(_prepared(part).has_tags for part in self._parts())

    def failure(self, data: Mapping[str, Any]) -> str | None:
        """Render it; what SES says if that cannot be done."""
        try:
            for part in self._parts():
                _prepared(part).render(data)
        except RenderingFailure as error:
            return str(error)
        return None

    def message(self, data: Mapping[str, Any]) -> str:
        """Render it as TestRenderEmailTemplate does: a MIME message. Raises RenderingFailure."""
        message = EmailMessage()
        subject, text, html = (
            part and _prepared(part).render(data) for part in (self.subject, self.text, self.html)
        )
        message["Subject"] = " ".join((subject or "").split())
        if text is not None or html is None:
            message.set_content(text or "")
        if html is not None:
            (message.set_content if text is None else message.add_alternative)(html, subtype="html")
        return message.as_string()

    def described(self) -> dict[str, str]:
        """As GetEmailTemplate answers it, and CreateEmailTemplate takes it."""
        parts = {"Subject": self.subject, "Text": self.text, "Html": self.html}
        return {name: part for name, part in parts.items() if part is not None}

    def _parts(self) -> list[str]:
        return [part for part in (self.subject, self.text, self.html) if part]


def of(content: Mapping[str, str | None]) -> Template:
    """The template of a TemplateContent. Raises pydantic.ValidationError."""
    return Template(
        subject=content.get("Subject"), text=content.get("Text"), html=content.get("Html")
    )


def name_of(name_or_arn: str) -> str:
    """The name that an ARN ends with; a name is one already."""
    return name_or_arn.rpartition(":template/")[2]


def merged(default: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The data of an entry: its own over the default ones, in objects within objects, too."""
    data = dict(default)
    for name, value in own.items():
        both = isinstance(value, dict) and isinstance(data.get(name), dict)
        data[name] = merged(data[name], value) if both else value
    return data
