"""Makes previews: asks SES for the template, and reads the list until the rows are found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import NamedTuple

from mailsluice.checking import template as templates
from mailsluice.checking.choosing import ByAddress, ByNumber, Choice, Longest, Sampled
from mailsluice.checking.gathering import template_name
from mailsluice.checking.preview import Preview, preview
from mailsluice.checking.rows import data_of
from mailsluice.mailing.fields import encode_data
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.rendering.template import Template
from mailsluice.mailing.rendering.template_error import TemplateError
from mailsluice.model import Recipient
from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import inspector
from mailsluice.ses.inspector import Inspector, Unread, Why
from mailsluice.sources import Source

Choosing = Callable[[Mailing, Template], Choice]


def choosing(
    *,
    row: int | None = None,
    address: str | None = None,
    longest: bool = False,
    sample: int | None = None,
) -> Choosing:
    """Which rows to show: one of these, or else the first row."""
    if address is not None:
        return lambda mailing, _: ByAddress(mailing, address)
    if longest:
        return Longest
    if sample is not None:
        return lambda mailing, _: Sampled(mailing, sample)
    return lambda mailing, _: ByNumber(mailing, row or 1)


class Previewed(NamedTuple):
    """A row's mail."""

    preview: Preview
    recipient: Recipient
    """As the list has it."""
    mime: str | None = None
    """What SES itself has made of it."""


async def previews(
    asked: Inspector | None,
    mailing: Mailing,
    source: Source,
    choosing: Choosing,
    *,
    via_ses: bool = False,
) -> list[Previewed]:
    """Render the mails of the chosen rows; with `via_ses` let SES render them as well.

    Raises ConfigurationError if the template cannot be read or rendered, or no row is found;
    SourceError if the list cannot be read.
    """
    template = await _template(asked, mailing)
    choice = choosing(mailing, template)
    await source.identify()
    first = 1
    async with aclosing(source.rows()) as chunks:
        async for chunk in chunks:
            if not choice.take(chunk, first):
                break
            first += len(chunk)
    made = []
    for entry, row in choice.chosen():
        assert row.recipient is not None
        data = data_of(mailing.data, row)
        mime = await _rendered(asked, mailing, encode_data(data)) if via_ses else None
        shown = preview(mailing, entry, data, template.render(data))
        made.append(Previewed(shown, row.recipient, mime))
    return made


async def _template(asked: Inspector | None, mailing: Mailing) -> Template:
    stored: inspector.Template | None = None
    name = template_name(mailing)
    if name is not None:
        if asked is None:
            raise ConfigurationError("this engine has nobody to ask SES for the template")
        found = await asked.template(name)
        if isinstance(found, Unread):
            raise ConfigurationError(
                f"the template {name} cannot be read: {found.why.value} "
                f"({found.text or found.operation}); a preview needs ses:GetEmailTemplate"
            )
        stored = found
    parts = templates.source_of(mailing, stored)
    assert parts is not None  # there is either content, or a stored template
    try:
        return templates.compiled(mailing, parts)
    except TemplateError as error:
        raise ConfigurationError(f"the template cannot be parsed: {error}") from error


async def _rendered(asked: Inspector | None, mailing: Mailing, data: str) -> str:
    name = template_name(mailing)
    if name is None or asked is None:
        raise ConfigurationError(
            "SES renders stored templates only, and this mailing has its content inline; leave "
            "--via-ses out"
        )
    found = await asked.test_render(name, data)
    if isinstance(found, Unread):
        why = "it cannot" if found.why is Why.MISSING else found.why.value
        raise ConfigurationError(
            f"SES does not render it: {why} ({found.text or found.operation}); see "
            "`mailsluice check`"
        )
    return found
