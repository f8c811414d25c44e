"""The shape of a SendBulkEmail request, and how a JSON value is checked against it. Pure.

Source: the SES v2 service model (sesv2/2019-09-27) of botocore 1.43, and the API reference where it
says what the model leaves out (tags, tenant names). A member that is null counts as absent, and
members that no shape knows are ignored, as AWS does.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRIES_MAX = 50
"""Entries of one call (SES developer guide, "send personalized email")."""

DATA_CHARACTERS_MAX = 262_144
"""Longest TemplateData or ReplacementTemplateData, in characters."""

HEADERS_MAX = 15
"""Headers of a template or an entry, at most."""

HEADER_CHARACTERS_MAX = 996
"""Longest name and value of a header together (API reference, MessageHeader)."""


class Text(NamedTuple):
    """A string."""

    least: int = 0
    most: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()


class Blob(NamedTuple):
    """Bytes, as base64 on the wire."""


class Many(NamedTuple):
    """A list."""

    of: Shape
    least: int = 0
    most: int | None = None


class Structure(NamedTuple):
    """An object."""

    members: Mapping[str, Shape]
    required: tuple[str, ...] = ()


Shape: TypeAlias = Text | Blob | Many | Structure

_ARN = Text(least=1)
_SWITCH = Text(choices=("ENABLED", "DISABLED"))
_TAG_TEXT = Text(least=1, most=256, pattern=r"[A-Za-z0-9_-]*")
_TAGS = Many(Structure({"Name": _TAG_TEXT, "Value": _TAG_TEXT}, ("Name", "Value")))
_DATA = Text(most=DATA_CHARACTERS_MAX)
_ADDRESSES = Many(Text())
_HEADERS = Many(
    Structure(
        {
            "Name": Text(least=1, most=126, pattern=r"[!-9;-@A-~]+"),
            "Value": Text(least=1, most=995, pattern=r"[ -~]*"),
        },
        ("Name", "Value"),
    ),
    most=HEADERS_MAX,
)
_ATTACHMENT = Structure(
    {
        "RawContent": Blob(),
        "ContentDisposition": Text(choices=("ATTACHMENT", "INLINE")),
        "FileName": Text(most=255),
        "ContentDescription": Text(most=1000),
        "ContentId": Text(least=1, most=78),
        "ContentTransferEncoding": Text(choices=("BASE64", "QUOTED_PRINTABLE", "SEVEN_BIT")),
        "ContentType": Text(least=1, most=78),
    },
    ("RawContent", "FileName"),
)
TEMPLATE_CONTENT = Structure({"Subject": Text(), "Text": Text(), "Html": Text()})
"""Members of a stored template and of inline content."""

_TEMPLATE = Structure(
    {
        "TemplateName": Text(least=1),
        "TemplateArn": _ARN,
        "TemplateContent": TEMPLATE_CONTENT,
        "TemplateData": _DATA,
        "Headers": _HEADERS,
        "Attachments": Many(_ATTACHMENT),
    }
)

REQUEST = Structure(
    {
        "FromEmailAddress": Text(),
        "FromEmailAddressIdentityArn": _ARN,
        "ReplyToAddresses": _ADDRESSES,
        "FeedbackForwardingEmailAddress": Text(),
        "FeedbackForwardingEmailAddressIdentityArn": _ARN,
        "DefaultEmailTags": _TAGS,
        "DefaultContent": Structure({"Template": _TEMPLATE}),
        "ConfigurationSetName": Text(),
        "EndpointId": Text(least=1),
        "TenantName": Text(least=1, most=64, pattern=r"[A-Za-z0-9_-]*"),
        "ConfigurationOverrides": Structure(
            {
                "Tracking": Structure(
                    {"OpenTrackingEnabled": _SWITCH, "ClickTrackingEnabled": _SWITCH}
                )
            }
        ),
    },
    ("DefaultContent",),
)
"""Members of a request except `BulkEmailEntries`."""

ENTRIES = Many(
    Structure(
        {
            "Destination": Structure(
                {
                    "ToAddresses": _ADDRESSES,
                    "CcAddresses": _ADDRESSES,
                    "BccAddresses": _ADDRESSES,
                }
            ),
            "ReplacementTags": _TAGS,
            "ReplacementEmailContent": Structure(
                {"ReplacementTemplate": Structure({"ReplacementTemplateData": _DATA})}
            ),
            "ReplacementHeaders": _HEADERS,
        },
        ("Destination",),
    ),
    least=1,
    most=ENTRIES_MAX,
)


def problem(shape: Shape, value: Any, where: str) -> str | None:
    """Return what is wrong with a value of this shape, in AWS's words; None if it fits."""
    if isinstance(shape, Structure):
        return _structure_problem(shape, value, where)
    if isinstance(shape, Many):
        return _list_problem(shape, value, where)
    if not isinstance(value, str):
        return _fault(where, "be a string")
    if isinstance(shape, Blob):
        return _blob_problem(value, where)
    return _text_problem(shape, value, where)


def _structure_problem(shape: Structure, value: Any, where: str) -> str | None:
    if not isinstance(value, dict):
        return _fault(where, "be an object")
    for name in shape.required:
        if value.get(name) is None:
            return _fault(_member(where, name), "not be null")
    for name, member in value.items():
        inner = shape.members.get(name)
        if inner is not None and member is not None:
            found = problem(inner, member, _member(where, name))
            if found:
                return found
    return None


def _list_problem(shape: Many, value: Any, where: str) -> str | None:
    if not isinstance(value, list):
        return _fault(where, "be a list")
    if len(value) < shape.least:
        return _fault(where, f"have length greater than or equal to {shape.least}")
    if shape.most is not None and len(value) > shape.most:
        return _fault(where, f"have length less than or equal to {shape.most}")
    for number, item in enumerate(value, 1):
        found = problem(shape.of, item, f"{where}.{number}.member")
        if found:
            return found
    return None


def _text_problem(shape: Text, value: str, where: str) -> str | None:
    if len(value) < shape.least:
        return _fault(where, f"have length greater than or equal to {shape.least}")
    if shape.most is not None and len(value) > shape.most:
        return _fault(where, f"have length less than or equal to {shape.most}")
    if shape.pattern is not None and not re.fullmatch(shape.pattern, value):
        return _fault(where, f"satisfy regular expression pattern: {shape.pattern}")
    if shape.choices and value not in shape.choices:
        return _fault(where, f"satisfy enum value set: [{', '.join(shape.choices)}]")
    return None


def _blob_problem(value: str, where: str) -> str | None:
    try:
        binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
    except ValueError:
        return _fault(where, "be valid base64")
    return None


def _member(where: str, name: str) -> str:
    name = name[0].lower() + name[1:]
    return f"{where}.{name}" if where else name


def _fault(where: str, need: str) -> str:
    return (
        f"1 validation error detected: Value at '{where}' failed to satisfy constraint: "
        f"Member must {need}"
    )
