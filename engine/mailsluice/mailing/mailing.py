"""The mailing: what all recipients share, checked against the API's limits and encoded once."""

from __future__ import annotations

import base64
import logging
import math
import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mailsluice.mailing import addresses, fields
from mailsluice.model import Entry
from mailsluice.model.complaints import Complaint, complaints
from mailsluice.model.copies import copied
from mailsluice.model.errors import ConfigurationError
from mailsluice.sources import reading

logger = logging.getLogger(__name__)

CONTENT_BYTES_MAX = 1024 * 1024
"""An inline template as JSON (SES developer guide, "send personalized email": 1 MB)."""

MESSAGE_BYTES_MAX = 40 * 1024 * 1024
"""A whole message, attachments in base64 (SES quotas page: 40 MB)."""

FILE_NAME_CHARACTERS_MAX = 255
"""An attachment's FileName (service model)."""

SUFFIX = b"]}"
"""The end of a request that `Mailing.prefix` begins."""

_is_file_name = re.compile(r"[^\s<>{}]+\.(?:html?|txt|hbs|mjml)", re.IGNORECASE).fullmatch
_is_ses_name = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


def assemble(prefix: bytes, entries: Iterable[Entry]) -> bytes:
    """Join a mailing's prefix and the entries of one batch to a `SendBulkEmail` request."""
    return prefix + b",".join([entry.body for entry in entries]) + SUFFIX


def _sender(text: str) -> str:
    return addresses.normalise_sender(text)


def _one_line(text: str) -> str:
    """Refuse characters that would begin another header, or hide in one."""
    if not text.isprintable():
        raise ValueError("it has a line break or another control character")
    return text


def _ses_name(text: str) -> str:
    if not _is_ses_name(text):
        raise ValueError("it may hold 1 to 64 of A-Z a-z 0-9 _ - and nothing else")
    return text


EmailAddress = Annotated[str, AfterValidator(_sender)]
"""A sender's address, `a@example.com` or `Ann <a@example.com>`, in the form SES takes."""

SesName = Annotated[str, AfterValidator(_ses_name)]
"""A tenant or configuration set (API reference: up to 64 letters, digits, _ and -)."""

NonEmpty = Annotated[str, Field(min_length=1)]

OneLine = Annotated[str, AfterValidator(_one_line)]
"""Text of a header: printable characters only."""


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        # Errors are shown and logged; addresses and data must not be.
        hide_input_in_errors=True,
    )


class Content(_Table):
    """An inline template. SES knows only simple substitutions here, no `{{#if}}`.

    `html_file` and `text_file` name UTF-8 files, relative to the folder of the mailing file; they
    are read at once, into `html` and `text`.
    """

    subject: Annotated[OneLine, Field(min_length=1)]
    text: str | None = None
    html: str | None = None
    text_file: Path | None = None
    html_file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_files_read(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, Mapping):
            return given
        table = dict(given)
        context = info.context or {}
        for part in ("text", "html"):
            path = table.get(f"{part}_file")
            if not isinstance(path, str | Path):
                continue
            if table.get(part):
                raise ValueError(f"{part} or {part}_file is needed, and not both")
            file = Path(context.get("folder", Path()), path)
            table[part] = _text_of(f"{part}_file", file, context.get("within"))
        return table

    @model_validator(mode="after")
    def _warns_of_a_file_name(self) -> Self:
        for part, text in (("html", self.html), ("text", self.text)):
            if text and _is_file_name(text):
                logger.warning(
                    '[mailing.content] %s is "%s", which looks like the name of a file; '
                    '%s_file = "%s" reads it', part, text, part, text,
                )  # fmt: skip
        return self

    @model_validator(mode="after")
    def _has_a_body_that_fits(self) -> Self:
        if not (self.text or self.html):
            raise ValueError("text or html is needed")
        if self.size > CONTENT_BYTES_MAX:
            raise ValueError(
                f"{self.size:,} bytes as JSON; an inline template may have {CONTENT_BYTES_MAX:,}:"
                " store it with CreateEmailTemplate and name it by template"
            )
        return self

    @property
    def size(self) -> int:
        """Return the size as JSON, bytes."""
        return len(orjson.dumps(self.request()))

    def request(self) -> dict[str, str]:
        """Return the API's shape."""
        parts = {"Subject": self.subject, "Text": self.text, "Html": self.html}
        return {name: part for name, part in parts.items() if part}


class Attachment(_Table):
    """A file that every recipient gets: on disk, by `path`, or in memory, by `content`.

    A relative path counts from the folder of the mailing file. The file is read when the mailing is
    encoded, so its content is what it is then. It must be a regular file.
    """

    path: Path | None = None
    content: bytes | None = None
    file_name: OneLine = Field(default="", max_length=FILE_NAME_CHARACTERS_MAX)
    """The name that recipients see; default: that of `path`. Non-ASCII names follow RFC 2047."""
    description: OneLine | None = Field(default=None, max_length=1000)
    disposition: Literal["ATTACHMENT", "INLINE"] = "ATTACHMENT"
    content_id: OneLine | None = Field(default=None, min_length=1, max_length=78)
    """For INLINE: the id in `<img src="cid:…">`."""
    transfer_encoding: Literal["BASE64", "QUOTED_PRINTABLE", "SEVEN_BIT"] = "BASE64"
    content_type: OneLine = Field(default="", max_length=78)
    """Default: by the ending of the file name, else application/octet-stream."""
    _within: Path | None = PrivateAttr(default=None)
    """The folder in which the file of `path` must lie; None: anywhere."""

    @model_validator(mode="before")
    @classmethod
    def _completed(cls, given: Any, info: ValidationInfo) -> Any:
        table = {"path": given} if isinstance(given, str | Path) else given
        if not isinstance(table, Mapping):
            return table
        folder = (info.context or {}).get("folder", Path())
        path = table.get("path")
        if not isinstance(path, str | Path):
            return dict(table)
        return {"file_name": Path(path).name, **table, "path": Path(folder, path)}

    @field_validator("path")
    @classmethod
    def _is_a_file(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        try:
            if path is not None:
                _size_on_disk(path, (info.context or {}).get("within"))
        except FileNotFoundError:
            raise ValueError(f"there is no file {path}") from None
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        return path

    @model_validator(mode="after")
    def _is_whole(self, info: ValidationInfo) -> Self:
        if (self.path is None) == (self.content is None):
            raise ValueError("either path or content is needed, and not both")
        if not self.file_name:
            raise ValueError("file_name is needed")
        encoded = len(addresses.encode_words(self.file_name))
        if encoded > FILE_NAME_CHARACTERS_MAX:
            raise ValueError(
                f"file_name has {encoded} characters as it is sent (RFC 2047); SES takes "
                f"{FILE_NAME_CHARACTERS_MAX}"
            )
        self._within = (info.context or {}).get("within")
        return self

    @property
    def size(self) -> int:
        """Return the size in base64, bytes. Raises OSError if the file cannot be read."""
        plain = _size_on_disk(self.path, self._within) if self.path else len(self.content or b"")
        return 4 * math.ceil(plain / 3)

    def request(self, base64_bytes_max: int = MESSAGE_BYTES_MAX) -> dict[str, str]:
        """Return the API's shape.

        Raises ConfigurationError if its file cannot be read, or has more than that many bytes in
        base64.
        """
        parts = {
            "RawContent": base64.b64encode(self._read(base64_bytes_max)).decode(),
            "FileName": addresses.encode_words(self.file_name),
            "ContentDescription": self.description and addresses.encode_words(self.description),
            "ContentDisposition": self.disposition,
            "ContentId": self.content_id,
            "ContentTransferEncoding": self.transfer_encoding,
            "ContentType": self.content_type or _content_type(self.file_name),
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _read(self, base64_bytes_max: int) -> bytes:
        if self.path is None:
            return self.content or b""
        try:
            return reading.read(self.path, base64_bytes_max // 4 * 3, self._within)
        except OSError as error:
            raise ConfigurationError(f"attachment {self.path}: {error.strerror}") from error


def _size_on_disk(path: Path, within: Path | None) -> int:
    descriptor = reading.open_file(path, within)
    try:
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _text_of(field: str, path: Path, within: Path | None) -> str:
    """Read a file that a mailing names. Raises ValueError."""
    try:
        return reading.read(path, CONTENT_BYTES_MAX, within).decode("utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{field}: there is no file {path}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{field}: {path} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"{field}: {path}: {error.strerror}") from None


def _content_type(file_name: str) -> str:
    kind, compression = mimetypes.guess_type(file_name)
    return "application/octet-stream" if kind is None or compression else kind


class Tracking(_Table):
    """Open and click tracking of this mailing; None: as the configuration set says."""

    opens: bool | None = None
    clicks: bool | None = None

    def request(self) -> dict[str, str]:
        """Return the API's shape; empty if nothing is overridden."""
        parts = {"OpenTrackingEnabled": self.opens, "ClickTrackingEnabled": self.clicks}
        return {
            name: "ENABLED" if enabled else "DISABLED"
            for name, enabled in parts.items()
            if enabled is not None
        }


class Mailing(_Table):
    """What all recipients of a mailing share; the `[mailing]` table of a mailing file.

    Names the template in exactly one of three ways: `template`, `template_arn`, `content`. Every
    limit that the API documents is checked here, so that SES need not refuse a thousand calls for
    the same mistake. Raises pydantic's ValidationError (a ValueError) that names the field.
    """

    # Not `alias`, which pyright would take for the only name of the argument.
    from_address: EmailAddress = Field(validation_alias=AliasChoices("from", "from_address"))
    from_arn: NonEmpty | None = None
    """FromEmailAddressIdentityArn, for sending authorization."""
    reply_to: list[EmailAddress] = []
    feedback_forwarding: EmailAddress | None = None
    """The address that receives bounces and complaints."""
    feedback_forwarding_arn: NonEmpty | None = None
    template: NonEmpty | None = None
    template_arn: NonEmpty | None = None
    content: Content | None = None
    data: dict[str, Any] = {}
    """TemplateData: defaults for every recipient, merged key by key by SES."""
    tags: dict[str, str] = {}
    tags_id: bool = True
    """True to give every recipient the unique tag `mailsluice-id`."""
    headers: dict[str, str] = {}
    attachments: list[Attachment] = []
    configuration_set: SesName | None = None
    tenant: SesName | None = None
    endpoint_id: NonEmpty | None = None
    """A global endpoint (multi-region)."""
    tracking: Tracking = Tracking()

    @classmethod
    def from_table(cls, table: Mapping[str, Any], folder: Path) -> Self:
        """Make a mailing from a `[mailing]` table; relative paths count from `folder`.

        Raises ConfigurationError that names each field at fault.
        """
        try:
            return cls.model_validate(dict(table), context={"folder": folder})
        except ValidationError as error:
            found = complaints(error, cls)
            raise ConfigurationError("\n".join(map(_of_the_table, found))) from error

    @field_validator("data")
    @classmethod
    def _data_is_json(cls, data: dict[str, Any]) -> dict[str, Any]:
        data = copied(data)
        fields.encode_data(data)
        return data

    @field_validator("tags")
    @classmethod
    def _tags_are_allowed(cls, tags: dict[str, str]) -> dict[str, str]:
        fields.check_tags(tags)
        return tags

    @field_validator("headers")
    @classmethod
    def _headers_are_allowed(cls, headers: dict[str, str]) -> dict[str, str]:
        fields.check_headers(headers)
        return headers

    @model_validator(mode="after")
    def _names_one_template(self) -> Self:
        ways = [self.template, self.template_arn, self.content]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("exactly one of template, template_arn and content is needed")
        return self

    @model_validator(mode="after")
    def _leaves_the_id_tag_alone(self) -> Self:
        if self.tags_id and fields.ID_TAG in self.tags:
            raise ValueError(
                f"tags: {fields.ID_TAG} is set by mailsluice; tags_id = false leaves it free"
            )
        return self

    @model_validator(mode="after")
    def _fits_in_a_message(self) -> Self:
        size = sum(attachment.size for attachment in self.attachments)
        size += self.content.size if self.content else 0
        if size > MESSAGE_BYTES_MAX:
            raise ValueError(
                f"attachments: the message has {size:,} bytes in base64; SES takes"
                f" {MESSAGE_BYTES_MAX:,}: leave some out, or link to them"
            )
        return self

    def prefix(self) -> bytes:
        """Return the JSON of a `SendBulkEmail` request up to its first entry; `SUFFIX` closes it.

        Reads the attachments, so call it once and off the event loop. Raises ConfigurationError
        where one cannot be read.
        """
        tracking = self.tracking.request()
        request = {
            "FromEmailAddress": self.from_address,
            "FromEmailAddressIdentityArn": self.from_arn,
            "ReplyToAddresses": self.reply_to,
            "FeedbackForwardingEmailAddress": self.feedback_forwarding,
            "FeedbackForwardingEmailAddressIdentityArn": self.feedback_forwarding_arn,
            "DefaultEmailTags": fields.encode_pairs(self.tags),
            "DefaultContent": {"Template": self._template_request()},
            "ConfigurationSetName": self.configuration_set,
            "EndpointId": self.endpoint_id,
            "TenantName": self.tenant,
            "ConfigurationOverrides": {"Tracking": tracking} if tracking else None,
        }
        return orjson.dumps(_without_empty(request))[:-1] + b',"BulkEmailEntries":['

    def _template_request(self) -> dict[str, Any]:
        template = {
            "TemplateName": self.template,
            "TemplateArn": self.template_arn,
            "TemplateContent": self.content and self.content.request(),
            # Always there: the older bulk call refused a request without it.
            "TemplateData": fields.encode_data(self.data),
            "Headers": fields.encode_pairs(self.headers),
            "Attachments": list(self._attachment_requests()),
        }
        return _without_empty(template)

    def _attachment_requests(self) -> Iterator[dict[str, str]]:
        # A file may have grown since its size was looked at.
        left = MESSAGE_BYTES_MAX
        for attachment in self.attachments:
            made = attachment.request(left)
            left -= len(made["RawContent"])
            yield made


def _without_empty(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request.items() if value}


def _of_the_table(complaint: Complaint) -> str:
    return f"[mailing]{' ' if complaint.place else ': '}{complaint}"
