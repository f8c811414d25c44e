"""One tree of settings from a TOML file, the environment and flags, each key checked by name.

A flag wins over the environment, the environment over the file, the file over the defaults. Keys
are those of the README: `quota.rate` is `[quota] rate`, `MAILSLUICE_QUOTA__RATE` and
`--set quota.rate=…`.
"""

from __future__ import annotations

import json
import logging
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from mailsluice.mailing.mailing import Content, Mailing
from mailsluice.model import LANE_SHARES, Dedupe, InDoubt, Lane
from mailsluice.model.complaints import complaints, keys_of, model_in, suggestion
from mailsluice.model.errors import ConfigurationError
from mailsluice.sources import Fields, reading

logger = logging.getLogger(__name__)

ASK_INTERVAL_S = 1.0
"""SES quotas page: GetAccount may be called once a second."""

FILE_BYTES_MAX = 8 * 1024 * 1024
"""A mailing file, with an inline template of 1 MB, fits several times."""

PREFIX = "MAILSLUICE_"
"""Begins the name of every variable of ours."""

NESTED = "__"
"""Stands in a variable's name for the dot of a key: MAILSLUICE_QUOTA__RATE is quota.rate."""

_is_service_link = re.compile(
    r"MAILSLUICE_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_\w+)?)"
).fullmatch
"""Variables that Kubernetes sets in each container for a service named mailsluice or mailsluice-x
(Kubernetes, "Accessing the Service": environment variables)."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipientsSettings(_Table):
    """`[recipients]`: where the recipients are, and which column holds what."""

    path: str | None = None
    """A file, relative to the mailing file; `s3://bucket/key`; "-" is standard input."""
    address: str = "email"
    cc: str | None = None
    bcc: str | None = None
    data: tuple[str, ...] | None = None
    """Columns that become template data; None: all that have no other role."""
    tags: dict[str, str] = {}
    headers: dict[str, str] = {}
    key: str | None = None
    rename: dict[str, str] = {}
    """Columns to the names that the template has for them."""
    address_as: Annotated[str, Field(min_length=1)] | None = None
    """The name under which the template gets the To address; None: not at all."""
    dedupe: Dedupe = "address"
    encoding: str = "utf-8"
    """How the list is written: any text encoding of Python's, as cp1252 or utf-16."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            raise ValueError("unknown encoding; use utf-8, cp1252, latin-1, utf-16, …") from None
        return encoding

    def fields(self) -> Fields:
        """These columns as sources want them."""
        return Fields(**self.model_dump(exclude={"path", "dedupe", "encoding"}))


def _rate(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """One sentence for a union of two, each of which would complain on its own."""
    try:
        rate = validate(value)
    except ValidationError:
        rate = 0
    if rate != "account" and not 0 < rate < float("inf"):
        raise ValueError('it must be "account", or a number of recipients per second above 0')
    return rate


class QuotaSettings(_Table):
    """`[quota]`: how much of the account's sending rate and daily quota a run may use."""

    rate: Annotated[Literal["account"] | float, WrapValidator(_rate)] = "account"
    """Recipients per second."""
    share: float = Field(default=1.0, gt=0, le=1)
    reserve: int = Field(default=0, ge=0)
    """Recipients of the 24-hour quota left alone."""
    calls_per_second: float = Field(default=0, ge=0)
    """0: no limit on calls."""
    refresh_s: float = Field(default=60.0, ge=ASK_INTERVAL_S)
    """Seconds between two GetAccount calls."""
    price_per_1000: float | None = Field(default=None, ge=0)
    """US dollars, for `--dry-run`'s estimate; None: by the account's plan."""


class MessageSettings(_Table):
    """`[messages]`: single messages, as `Engine.send` takes them."""

    linger_ms: float = Field(default=5, ge=0, le=1000)
    """Milliseconds that a message waits for others to share its call, at most."""
    queue_max: int = Field(default=10_000, ge=1)
    """Messages that may wait to be attempted; beyond that `send` waits."""
    drain_s: float = Field(default=30, ge=0)
    """Seconds within which all that was taken is sent when the engine is closed."""


class LaneSettings(_Table):
    """`[lanes]`: what each is due where both want more than there is; only the ratio counts."""

    transactional: float = Field(default=LANE_SHARES["transactional"], gt=0)
    bulk: float = Field(default=LANE_SHARES["bulk"], gt=0)

    def shares(self) -> dict[Lane, float]:
        """By lane."""
        return {"transactional": self.transactional, "bulk": self.bulk}


class DeliverySettings(_Table):
    """`[delivery]`: how calls are made, and what is done about doubt."""

    in_flight: int = Field(default=32, ge=1, le=1024)
    """Bulk calls at once."""
    in_doubt: InDoubt = "hold"
    max_attempts: int = Field(default=10, ge=1)
    timeout_s: float = Field(default=30.0, gt=0)


class SesSettings(_Table):
    """`[ses]`: None leaves it to the AWS SDK's own resolution."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    transport: Literal["direct", "sdk"] = "direct"
    """How SendBulkEmail is called: without the SDK's serialising and parsing, or through it."""


class Settings(BaseSettings):
    """What an engine is configured by. `Settings()` is the environment over the defaults."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    recipients: RecipientsSettings = RecipientsSettings()
    quota: QuotaSettings = QuotaSettings()
    lanes: LaneSettings = LaneSettings()
    delivery: DeliverySettings = DeliverySettings()
    messages: MessageSettings = MessageSettings()
    ses: SesSettings = SesSettings()


class _FromTables(Settings):
    """Settings read from `tables`, under flags and the environment."""

    @classmethod
    def settings_customise_sources(  # the library's signature
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        tables = init_settings.init_kwargs.pop("tables")  # type: ignore[attr-defined]  # ours
        return init_settings, env_settings, InitSettingsSource(settings_cls, tables)


class FolderSettings(_Table):
    """`[folder]`: where mailings are dropped."""

    path: Path
    """Holds inbox/, working/, done/ and failed/; relative to the worker's file."""
    poll_s: float = Field(default=1.0, gt=0)
    """Seconds between two looks at the inbox."""
    at_once: int = Field(default=8, ge=1, le=64)
    """Mailings that are sent side by side."""
    hold_s: float = Field(default=60.0, gt=0)
    """Seconds after which a mailing that is held is tried again."""


class QueueSettings(_Table):
    """`[queue]`: the Amazon SQS queue that feeds the worker."""

    url: str = Field(
        pattern=r"^https?://[^/]+/.+", examples=["https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"]
    )
    in_hand: int = Field(default=1_000, ge=1, le=100_000)
    """Messages at once that have been received and have no outcome yet."""
    visibility_s: int = Field(default=60, ge=3, le=43_200)
    """For so long a message is hidden from others; it is extended while the message is in hand."""
    wait_s: int = Field(default=20, ge=0, le=20)
    """How long a poll of an empty queue lasts."""
    hold_s: float = Field(default=60.0, gt=0, le=43_200)
    """After so many seconds what could not be sent, for a cause outside of it, is tried again."""


class HttpSettings(_Table):
    """`[http]`: the worker's interface."""

    host: str = "127.0.0.1"
    port: int = Field(default=8025, ge=0, le=65535)
    """0: any that is free; the log says which."""
    token: str | None = Field(default=None, min_length=16)
    """Asked for as `Authorization: Bearer`; needed on any address but loopback."""

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if not self.token and not ip_address(self.host).is_loopback:
            raise ValueError("a token is needed on any address but 127.0.0.1 and ::1")
        return self

    @field_validator("token")
    @classmethod
    def _can_be_a_header(cls, token: str | None) -> str | None:
        if token is not None and not re.fullmatch(r"[!-~]+", token):
            raise ValueError("use printable ASCII characters without spaces or line ends")
        return token

    @property
    def url(self) -> str:
        """Where it is served."""
        return (
            f"http://[{self.host}]:{self.port}"
            if ":" in self.host
            else f"http://{self.host}:{self.port}"
        )

    @field_validator("host")
    @classmethod
    def _is_an_address(cls, host: str) -> str:
        try:
            return "127.0.0.1" if host == "localhost" else str(ip_address(host))
        except ValueError:
            raise ValueError("it must be an IP address of this machine, or localhost") from None


class LogSettings(_Table):
    """`[log]`: what the worker says on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """auto: JSON where standard error is no terminal."""


class WorkerSettings(_FromTables):
    """The settings of `mailsluice worker`: an engine's, and where its work comes from."""

    folder: FolderSettings
    queue: QueueSettings | None = None
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()


class _File(_FromTables):
    """The settings with the mailing's own table."""

    mailing: dict[str, Any] = {}


def load(
    path: Path, overrides: Iterable[str] = (), *, within: Path | None = None
) -> tuple[Mailing, Settings]:
    """Read a mailing file. `overrides` are `key=value` with dotted keys, as `--set` takes them.

    `within`: a folder in which the file, and all attachments that it names, must lie. Raises
    ConfigurationError that names the file, flag or variable, the key and the remedy.
    """
    layers = _Layers(path, overrides, within)
    file = layers.validated(_File)
    try:
        context = {"folder": path.parent, "within": within}
        mailing = Mailing.model_validate(file.mailing, context=context)
    except ValidationError as error:
        raise layers.refused(error, Mailing, "mailing") from error
    tables = {name: getattr(file, name) for name in Settings.model_fields}
    return mailing, Settings.model_construct(**tables)


def load_worker(path: Path, overrides: Iterable[str] = ()) -> WorkerSettings:
    """Read a worker's file. Raises ConfigurationError as `load` does."""
    return _Layers(path, overrides).validated(WorkerSettings)


Tables = TypeVar("Tables", bound=_FromTables)


class _Layers:
    """A file under the environment under flags; knows which of them a wrong key came from."""

    def __init__(self, path: Path, overrides: Iterable[str], within: Path | None = None) -> None:
        self._path = path
        self._variables = _variables(os.environ)
        self._flags = _flags(overrides)
        self._file = _read(path, within)

    def validated(self, kind: type[Tables]) -> Tables:
        """Merge the layers. Raises ConfigurationError."""
        given: dict[str, Any] = {"tables": self._file, **self._flags}
        try:
            return kind(**given)
        except ValidationError as error:
            raise self.refused(error, kind) from error
        except SettingsError as error:
            raise self._no_json(error) from error

    def _no_json(self, error: SettingsError) -> ConfigurationError:
        """Name the variables that are no JSON: the library names their table alone."""
        table = PREFIX + str(error).partition('field "')[2].partition('"')[0].upper()
        suspects = [
            name
            for name, text in self._variables.items()
            if name.partition(NESTED)[0] == table and not _is_json(text)
        ]
        return ConfigurationError(
            f"environment: {' or '.join(suspects)}: it is not JSON; write a table as "
            '{"key": "value"}, or set a variable for each key'
        )

    def refused(
        self, error: ValidationError, model: type[BaseModel], *tables: str
    ) -> ConfigurationError:
        """The error to raise for a table of `model` that stands within `tables`."""
        fields = WorkerSettings if model is WorkerSettings else _File
        found = complaints(error, model, _homes(fields.model_fields))
        return ConfigurationError(
            "\n".join(self._blamed((*tables, *each.place), each.text) for each in found)
        )

    def _blamed(self, place: tuple[str, ...], text: str) -> str:
        if (flag := _deepest(self._flags, place)) is not None:
            return f"--set {'.'.join(flag)}: {text}"
        for depth in range(len(place), 0, -1):
            name = PREFIX + NESTED.join(place[:depth]).upper()
            if name in self._variables:
                inner = "".join(f" {part}" for part in place[depth:])
                return f"environment: {name}{inner}: {text}"
        table, *rest = place or ("",)
        where = f"[{table}] {'.'.join(rest)}".rstrip()
        return f"{self._path}: {where}: {text}"


def _deepest(tree: Mapping[str, Any], place: tuple[str, ...]) -> tuple[str, ...] | None:
    """The flag that gave what stands at a place; None if no flag did."""
    value: Any = tree
    for depth, name in enumerate(place):
        if not isinstance(value, dict) or name not in value:
            return place[:depth] if depth and not isinstance(value, dict) else None
        value = value[name]
    return place


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Our variables that are set, by their names in upper case. Raises ConfigurationError.

    A misspelt one would otherwise be ignored in silence. An empty one is not set, as everywhere.
    """
    ours = {
        name.upper(): text
        for name, text in environment.items()
        if text and name.upper().startswith(PREFIX)
    }
    tables = {**_File.model_fields, **WorkerSettings.model_fields}
    for name in sorted(ours):
        table = name.removeprefix(PREFIX).partition(NESTED)[0].lower()
        if table in tables:
            continue
        if _is_service_link(name):
            logger.warning("environment: %s: ignored, as a service link of Kubernetes", name)
            continue
        known = [PREFIX + NESTED.join(place).upper() for place in _places(tables)]
        raise ConfigurationError(f"environment: {name}: unknown table{suggestion(name, known)}")
    return ours


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _places(tables: Mapping[str, FieldInfo]) -> Iterator[tuple[str, ...]]:
    for table, field in tables.items():
        yield (table,)
        keys = keys_of(Mailing) if table == "mailing" else keys_of(model_in(field.annotation))
        yield from ((table, key) for key in keys)


def _homes(tables: Mapping[str, FieldInfo]) -> Mapping[str, list[str]]:
    """Each key of a file with the tables that have it."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    places = list(_places(tables))
    if "mailing" in tables:
        places += [("mailing", "content", key) for key in keys_of(Content)]
    for *table, key in places:
        if table:
            homes[key].append(f"[{'.'.join(table)}]")
    return homes


_TOML_HINTS = (
    ("Illegal character", "a quote is opened there and not closed"),
    ("Unescaped '\\'", "write \\\\ for each \\, or put the text into single quotes"),
    ("Invalid value", 'text stands in straight double quotes, as in key = "text"'),
    ("Expected '='", 'write key = "value"'),
    (") twice", "put the keys of both tables into one"),
    ("Cannot overwrite", "the key is there already"),
)

_NOT_TOML = "name a .toml file here; a list of recipients goes to --recipients"


def _read(path: Path, within: Path | None) -> dict[str, Any]:
    try:
        text = reading.read(path, FILE_BYTES_MAX, within).decode("utf-8-sig")
        # Numbers stay as written: `price = 19.90` is no 19.9 in a mail.
        return tomllib.loads(text, parse_float=Decimal)
    except FileNotFoundError:
        meant = path.with_suffix(".toml")
        hint = f"; did you mean {meant}?" if meant != path and meant.is_file() else ""
        raise ConfigurationError(f"{path}: there is no such file{hint}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 ({error.reason})") from error
    except (ValueError, RecursionError) as error:  # also of numbers and nesting without end
        hints = [hint for mark, hint in _TOML_HINTS if mark in str(error)]
        if path.suffix != ".toml":
            hints = [_NOT_TOML]
        hint = "".join(f"; {hint}" for hint in hints)
        raise ConfigurationError(f"{path}: invalid TOML: {error}{hint}") from error


def _flags(overrides: Iterable[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        *tables, name = key.strip().split(".")
        if not equals or not tables or not name:
            raise ConfigurationError(
                f"--set {override}: write it as table.key=value, as in --set quota.rate=50"
            )
        table = tree
        for part in tables:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigurationError(f"--set {override}: {part} is a value, not a table")
        table[name] = _value(text)
    return tree


def _value(text: str) -> Any:
    """A flag's value: TOML where it is TOML (50, true, ["a"]), otherwise the text itself."""
    try:
        return tomllib.loads(f"value = {text}", parse_float=Decimal)["value"]
    except (ValueError, RecursionError):
        return text
