"""Templates of the emulated account, and how they are rendered. Pure.

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
"""Compiled parts of templates that are kept, at most."""

_strict = ConfigDict(extra="forbid")
_prepared = lru_cache(PREPARED_MAX)(Handlebars)


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Template:
    """A template's parts. One without parts always renders: only its name is known."""

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
        """False if the template is the same for every recipient."""
        return any(_prepared(part).has_tags for part in self._parts())

    def failure(self, data: Mapping[str, Any]) -> str | None:
        """Render the template; return SES's text if the data do not fit, else None."""
        try:
            for part in self._parts():
                _prepared(part).render(data)
        except RenderingFailure as error:
            return str(error)
        return None

    def message(self, data: Mapping[str, Any]) -> str:
        """Render a MIME message as TestRenderEmailTemplate does. Raises RenderingFailure."""
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
        """Return what GetEmailTemplate answers and CreateEmailTemplate takes."""
        parts = {"Subject": self.subject, "Text": self.text, "Html": self.html}
        return {name: part for name, part in parts.items() if part is not None}

    def _parts(self) -> list[str]:
        return [part for part in (self.subject, self.text, self.html) if part]


def of(content: Mapping[str, str | None]) -> Template:
    """Make a template of a TemplateContent. Raises pydantic.ValidationError."""
    return Template(
        subject=content.get("Subject"), text=content.get("Text"), html=content.get("Html")
    )


def name_of(name_or_arn: str) -> str:
    """Return the name at the end of an ARN, or the given name itself."""
    return name_or_arn.rpartition(":template/")[2]


def merged(default: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an entry's data over the default data, also in nested objects."""
    data = dict(default)
    for name, value in own.items():
        both = isinstance(value, dict) and isinstance(data.get(name), dict)
        data[name] = merged(data[name], value) if both else value
    return data
