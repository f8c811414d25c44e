"""The body of a queue's message: one recipient, many, or a list to fetch. Checked at intake. Pure.

docs/message.schema.json is the JSON Schema of these models.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import (
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from mailsluice.config.settings import DeliverySettings, RecipientsSettings, Settings
from mailsluice.mailing.mailing import Attachment, Content, Mailing
from mailsluice.mailing.message import Message
from mailsluice.model import Lane, exact_json
from mailsluice.model.complaints import complaints

MAILINGS_MAX = 256
"""Number of mailings remembered for further messages with the same mailing."""

MAILING_CHARS_MAX = 64 * 1024
"""A longer mailing is not remembered; it usually has attachments."""

_is_base64 = re.compile(r"[A-Za-z0-9+/\s]*(?:=\s*){0,2}").fullmatch


def _one_or_several(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Say one sentence for a union of two types, instead of one per type."""
    try:
        return validate(value)
    except ValidationError:
        raise ValueError("it must be an address, or a list of addresses") from None


def _strict_base64(value: Any) -> Any:
    """Refuse what the decoder would skip: an attachment must not be cut silently."""
    if isinstance(value, str) and not _is_base64(value):
        raise ValueError("it must be base64")
    return value


Addresses = Annotated[str | tuple[str, ...], WrapValidator(_one_or_several)]


class BodyError(ValueError):
    """Why a message can never be sent as it is, field by field."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class QueueAttachment(_Table):
    """An attachment included in the message."""

    content: Annotated[Base64Bytes, BeforeValidator(_strict_base64)]
    file_name: Annotated[str, Field(min_length=1, max_length=255)]
    description: str | None = None
    disposition: Literal["ATTACHMENT", "INLINE"] = "ATTACHMENT"
    content_id: str | None = None
    content_type: str = ""


class QueueContent(_Table):
    """An inline template. It names no files: they would be the worker's."""

    subject: str
    text: str | None = None
    html: str | None = None


class QueueMailing(Mailing):
    """The `[mailing]` table of a mailing file; attachments come along, in base64."""

    content: QueueContent | None = None  # type: ignore[assignment]  # for the schema alone
    attachments: list[QueueAttachment] = Field(default=[])  # type: ignore[assignment]  # for the schema alone

    @field_validator("content", mode="after")
    @classmethod
    def _is_whole(cls, content: QueueContent | None) -> Content | None:
        return None if content is None else Content(**dict(content))

    @field_validator("attachments", mode="after")
    @classmethod
    def _are_in_memory(cls, attachments: list[QueueAttachment]) -> list[Attachment]:
        return [Attachment(**dict(each)) for each in attachments]


class QueueRecipient(_Table):
    """One recipient."""

    to: Addresses
    cc: Addresses = ()
    bcc: Addresses = ()
    data: dict[str, Any] | None = None
    tags: dict[str, str] | None = None
    headers: dict[str, str] | None = None
    key: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The sender's own identity for it: it is not sent twice under one key. Default: the queue's
    own id of the message."""


class One(QueueRecipient):
    """A message to one recipient."""

    mailing: QueueMailing
    lane: Lane = "transactional"


class Many(_Table):
    """The same mailing to several recipients."""

    mailing: QueueMailing
    recipients: Annotated[list[QueueRecipient], Field(min_length=1)]
    lane: Lane = "transactional"


class ListSettings(RecipientsSettings):
    """The `[recipients]` table of a mailing file."""

    path: Annotated[str, Field(pattern=r"^s3://[^/]+/.+", examples=["s3://bucket/key"])]


class FromList(_Table):
    """A mailing to a list in S3, of any length: sent as one that was dropped into the folder."""

    mailing: QueueMailing
    recipients: ListSettings
    delivery: DeliverySettings = DeliverySettings()
    key: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["november-1"])]
        | None
    ) = None
    """The mailing's name; it is sent once under it."""


Body = One | Many | FromList

_KINDS: Mapping[type, type[Body]] = {list: Many, dict: FromList}
"""Message models by the type of `recipients`."""


class Part(NamedTuple):
    """One recipient of a message."""

    message: Message
    lane: Lane


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a message."""
    made: dict[str, Any] = TypeAdapter(Body).json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message for mailsluice's worker",
        **made,
    }


def parse(text: str | bytes) -> Body:
    """Read a message's body. Raises BodyError."""
    try:
        table = exact_json.loads(text.encode() if isinstance(text, str) else text)
    except exact_json.JSONLossError as error:
        raise BodyError(f"it {error}") from None
    except ValueError as error:  # also of a lone surrogate, which is no UTF-8
        raise BodyError(f"it is not JSON: {error}") from None
    if not isinstance(table, dict):
        raise BodyError("it is not a JSON object")
    kind = _KINDS.get(type(table.get("recipients")), One)
    try:
        if isinstance(table.get("mailing"), dict):
            # As text: orjson's bytes have a kilobyte and more to spare, and are kept.
            try:
                known = exact_json.dumps(table["mailing"], option=orjson.OPT_SORT_KEYS).decode()
            except ValueError as error:
                raise BodyError(f"mailing: it cannot be read: {error}") from None
            table["mailing"] = (_mailing if len(known) <= MAILING_CHARS_MAX else _read_mailing)(
                known
            )
        return kind.model_validate(table)
    except ValidationError as error:
        raise BodyError("; ".join(map(str, complaints(error, kind)))) from None


def parts(body: One | Many, message_id: str) -> Iterator[Part]:
    """Return the recipients, each with its key."""
    if isinstance(body, One):
        yield _part(body, body.mailing, body.lane, message_id)
        return
    for number, each in enumerate(body.recipients, 1):
        yield _part(each, body.mailing, body.lane, f"{message_id}/{number}")


def settings_of(body: FromList) -> Settings:
    """Return the settings of a message, as of a mailing file."""
    return Settings.model_construct(recipients=body.recipients, delivery=body.delivery)


def _part(recipient: QueueRecipient, mailing: Mailing, lane: Lane, default_key: str) -> Part:
    message = Message(
        mailing,
        recipient.to,
        recipient.cc,
        recipient.bcc,
        recipient.data,
        recipient.tags,
        recipient.headers,
        recipient.key or default_key,
    )
    return Part(message, lane)


def _read_mailing(table: str) -> QueueMailing:
    try:
        return QueueMailing.model_validate(exact_json.loads(table.encode()))
    except ValidationError as error:
        found = complaints(error, QueueMailing)
        raise BodyError("; ".join(f"mailing.{each}" for each in found)) from None


_mailing = lru_cache(MAILINGS_MAX)(_read_mailing)
"""Return one object for all messages with this mailing, so that it is encoded once."""


if __name__ == "__main__":
    sys.stdout.buffer.write(orjson.dumps(schema(), option=orjson.OPT_INDENT_2))
