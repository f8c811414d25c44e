"""Tags, headers and template data as SES takes them: the limits of the API, and its shapes. Pure.

What is refused here is refused with a ValueError whose text a person understands; it holds names,
never values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mailsluice.model import exact_json

DATA_CHARACTERS_MAX = 262_144
"""Template data as JSON (SES v2 service model, TemplateData and ReplacementTemplateData)."""

HEADERS_MAX = 15
"""Headers of a template or of an entry (service model, MessageHeaderList)."""

HEADER_BYTES_MAX = 996
"""Name and value of one header together (API reference, MessageHeader)."""

ID_TAG = "mailsluice-id"
"""The tag that names a recipient of a run; SES events are matched by it."""

FEEDBACK_ID_TAGS = frozenset({"ses:feedback-id-a", "ses:feedback-id-b"})
"""SES's own tags, which it puts into the Feedback-ID header (developer guide, "Feedback-ID")."""

RESERVED_HEADERS = frozenset(
    {
        *("from", "to", "cc", "bcc", "reply-to", "return-path", "subject", "date", "message-id"),
        *("mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
        "dkim-signature",
    }
)
"""Headers that may appear once and that SES writes itself (developer guide, "header fields")."""

_tag = re.compile(r"[A-Za-z0-9_-]{1,256}").fullmatch
_header_name = re.compile(r"[!-9;-@A-~]{1,126}").fullmatch
_header_value = re.compile(r"[ -~]{1,995}").fullmatch


def check_tags(tags: Mapping[Any, Any]) -> None:
    """Raise ValueError if SES would not take these tags."""
    for name, value in tags.items():
        if not (isinstance(name, str) and (_tag(name) or name in FEEDBACK_ID_TAGS)):
            raise ValueError("a tag name may hold 1 to 256 of A-Z a-z 0-9 _ - and nothing else")
        if not (isinstance(value, str) and _tag(value)):
            raise ValueError(
                f"the value of tag {name} may hold 1 to 256 of A-Z a-z 0-9 _ - and nothing else"
            )


def check_headers(headers: Mapping[Any, Any]) -> None:
    """Raise ValueError if SES would not take these headers."""
    if len(headers) > HEADERS_MAX:
        raise ValueError(f"{len(headers)} headers; SES takes {HEADERS_MAX} at most")
    for name, value in headers.items():
        _check_header(name, value)
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("a header comes twice: upper and lower case make no difference")


def _check_header(name: object, value: object) -> None:
    if not (isinstance(name, str) and _header_name(name)):
        raise ValueError("a header name must be 1 to 126 ASCII characters, no space, no colon")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError(
            f"header {name} is written by SES itself: set it by the mailing's own fields, the "
            "recipient's addresses, or the template"
        )
    if not isinstance(value, str):
        raise ValueError(f"the value of header {name} is not text")  # noqa: TRY004 - pydantic's
    if "\r" in value or "\n" in value:
        raise ValueError(f"the value of header {name} has a line break")
    if not _header_value(value):
        raise ValueError(
            f"the value of header {name} must be 1 to 995 printable ASCII characters;"
            " write others as RFC 2047 encoded words"
        )
    if len(name) + len(value) > HEADER_BYTES_MAX:
        raise ValueError(f"header {name}: name and value exceed {HEADER_BYTES_MAX} bytes together")


def encode_data(data: Mapping[str, Any]) -> str:
    """Encode template data as the JSON text for SES.

    Dates, times and UUIDs become texts; a Decimal and an integer of any size become the number that
    they are, digit for digit. Raises ValueError if it cannot be JSON or exceeds
    `DATA_CHARACTERS_MAX`.
    """
    text = exact_json.dumps(data).decode()
    if len(text) > DATA_CHARACTERS_MAX:
        raise ValueError(f"{len(text):,} characters as JSON; SES takes {DATA_CHARACTERS_MAX:,}")
    # orjson writes NaN and infinities as null, so only where there is a null can there be one.
    if "null" in text and _holds_nonfinite(data):
        raise ValueError(exact_json.NOT_FINITE)
    return text


def _holds_nonfinite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(map(_holds_nonfinite, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_nonfinite, value))


def encode_pairs(pairs: Mapping[str, str]) -> list[dict[str, str]]:
    """Encode tags or headers in the API's shape."""
    return [{"Name": name, "Value": value} for name, value in pairs.items()]
