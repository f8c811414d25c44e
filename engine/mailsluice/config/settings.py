"""The settings of an engine: one frozen table for each part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

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
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from mailsluice.model import LANE_SHARES, Dedupe, InDoubt, Lane
from mailsluice.sources import Fields
from mailsluice.sources.blocks import S3_SCHEME
from mailsluice.suppression import links
from mailsluice.suppression.scopes import ALL, MAILINGS, is_scope

ASK_INTERVAL_S = 1.0
"""SES quotas page: GetAccount may be called once a second."""

PREFIX = "MAILSLUICE_"
"""Prefix of all our environment variables."""

NESTED = "__"
"""Separator for the dots of a key: MAILSLUICE_QUOTA__RATE is quota.rate."""


QUEUE_URL = r"^https?://[^/]+/.+"
"""Pattern of the URL of an Amazon SQS queue."""

QUEUE_URL_EXAMPLE = "https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"


class Table(BaseModel):
    """A table of settings: frozen, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RecipientsSettings(Table):
    """`[recipients]`: the list, and the roles of its columns."""

    path: str | None = None
    """A file, relative to the mailing file; `s3://bucket/key`; "-" is standard input."""
    address: str = "email"
    cc: str | None = None
    bcc: str | None = None
    data: tuple[str, ...] | None = None
    """Columns that become template data; None: all without another role."""
    tags: dict[str, str] = {}
    headers: dict[str, str] = {}
    key: str | None = None
    rename: dict[str, str] = {}
    """Column names to the template's names for them."""
    address_as: Annotated[str, Field(min_length=1)] | None = None
    """The template's name for the To address; None: it does not get the address."""
    dedupe: Dedupe = "address"
    encoding: str = "utf-8"
    """Encoding of the list: any text encoding of Python, such as cp1252 or utf-16."""

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            raise ValueError("unknown encoding; use utf-8, cp1252, latin-1, utf-16, …") from None
        return encoding

    def fields(self) -> Fields:
        """Return these columns in the form that sources take."""
        return Fields(**self.model_dump(exclude={"path", "dedupe", "encoding"}))


def _rate(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Say one sentence for a union of two types, instead of one per type."""
    try:
        rate = validate(value)
    except ValidationError:
        rate = 0
    if rate != "account" and not 0 < rate < float("inf"):
        raise ValueError('it must be "account", or a number of recipients per second above 0')
    return rate


class QuotaSettings(Table):
    """`[quota]`: how much of the account's sending rate and daily quota a run may use."""

    rate: Annotated[Literal["account"] | float, WrapValidator(_rate)] = "account"
    """Recipients per second."""
    share: float = Field(default=1.0, gt=0, le=1)
    reserve: int = Field(default=0, ge=0)
    """Recipients of the 24-hour quota that are left for others."""
    calls_per_second: float = Field(default=0, ge=0)
    """0: no limit on calls."""
    refresh_s: float = Field(default=60.0, ge=ASK_INTERVAL_S)
    """Seconds between two GetAccount calls."""
    price_per_1000: float | None = Field(default=None, ge=0)
    """US dollars, for `--dry-run`'s estimate; None: by the account's plan."""


class MessageSettings(Table):
    """`[messages]`: single messages, as `Engine.send` takes them."""

    linger_ms: float = Field(default=5, ge=0, le=1000)
    """Milliseconds for which a message waits at most for others to share its call."""
    queue_max: int = Field(default=10_000, ge=1)
    """Messages that may wait to be attempted; beyond that `send` waits."""
    drain_s: float = Field(default=30, ge=0)
    """Seconds for sending what was accepted when the engine is closed."""


class LaneSettings(Table):
    """`[lanes]`: shares of the lanes when both want more than there is; only the ratio counts."""

    transactional: float = Field(default=LANE_SHARES["transactional"], gt=0)
    bulk: float = Field(default=LANE_SHARES["bulk"], gt=0)

    def shares(self) -> dict[Lane, float]:
        """Return the shares by lane."""
        return {"transactional": self.transactional, "bulk": self.bulk}


class DeliverySettings(Table):
    """`[delivery]`: how calls are made, and what happens to recipients in doubt."""

    in_flight: int = Field(default=32, ge=1, le=1024)
    """Bulk calls at once."""
    in_doubt: InDoubt = "hold"
    max_attempts: int = Field(default=10, ge=1)
    timeout_s: float = Field(default=30.0, gt=0)


class FeedbackSettings(Table):
    """`[feedback]`: where SES's events come from, and where they are kept."""

    queue: str | None = Field(default=None, pattern=QUEUE_URL, examples=[QUEUE_URL_EXAMPLE])
    """The SQS queue to which SES publishes its events."""
    files: Annotated[str, Field(min_length=1)] | None = None
    """A folder, relative to the file, or `s3://bucket/prefix`: NDJSON that Firehose has written.
    Without this and `queue`, another process fills the store."""
    store: Path = Path("feedback.db")
    """Relative to the file. Any number of processes may share it."""

    @field_validator("files")
    @classmethod
    def _names_a_bucket(cls, files: str | None) -> str | None:
        if files is not None and files.startswith(S3_SCHEME):
            bucket, _, _ = files.removeprefix(S3_SCHEME).partition("/")
            if not bucket:
                raise ValueError("it must be a folder, or s3://bucket/prefix")
        return files

    @field_validator("files", "store")
    @classmethod
    def _is_a_path(cls, path: str | Path | None) -> str | Path | None:
        if "\0" in str(path or ""):
            raise ValueError("a path has no NUL character")
        return path

    @model_validator(mode="after")
    def _has_one_stream(self) -> Self:
        if self.queue is not None and self.files is not None:
            raise ValueError("queue and files exclude each other; keep the one that SES feeds")
        return self

    def beside(self, folder: Path) -> Self:
        """Return them with paths that are relative to this folder."""
        files = self.files
        if files is not None and not files.startswith(S3_SCHEME):
            files = str(folder / files)
        return self.model_copy(update={"files": files, "store": folder / self.store})


class SuppressionSettings(Table):
    """`[suppression]`: whom not to mail, and where that is kept."""

    path: Path = Path("suppressions.db")
    """Relative to the file. Any number of processes may share it."""
    scope: str = MAILINGS
    """The kind of mailing that this is: what recipients unsubscribe from. "mailings": all kinds.
    Transactional messages belong to none."""
    keep: Literal["address", "hash"] = "address"
    """"hash" writes no address into the store, only keyed hashes."""
    soft_after: int = Field(default=0, ge=0, le=100)
    """Soft bounces in a row after which an address is suppressed; 0: never."""

    @field_validator("scope")
    @classmethod
    def _is_a_kind_of_mailing(cls, scope: str) -> str:
        if not is_scope(scope) or scope == ALL:
            raise ValueError(f'it must be 1 to 64 of A-Z a-z 0-9 . _ - and not "{ALL}"')
        return scope

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, path: Path) -> Path:
        if "\0" in str(path):
            raise ValueError("a path has no NUL character")
        return path

    def beside(self, folder: Path) -> Self:
        """Return them with a path that is relative to this folder."""
        return self.model_copy(update={"path": folder / self.path})


class UnsubscribeSettings(Table):
    """`[unsubscribe]`: a signed link for each recipient, as headers and as a template variable."""

    url: str
    """With {token} in it, where the recipient's token goes."""

    @field_validator("url")
    @classmethod
    def _can_be_a_link(cls, url: str) -> str:
        if (why := links.why_unusable(url)) is not None:
            raise ValueError(why)
        return url


class SesSettings(Table):
    """`[ses]`: None leaves it to the AWS SDK's own resolution."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    transport: Literal["direct", "sdk"] = "direct"
    """"direct" calls SendBulkEmail without the SDK's serialising and parsing; "sdk" uses it."""


class Settings(BaseSettings):
    """The settings of an engine. `Settings()` reads the environment over the defaults."""

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
    feedback: FeedbackSettings | None = None
    """None: SES's events are not read."""
    suppression: SuppressionSettings | None = None
    """None: nobody is suppressed."""
    unsubscribe: UnsubscribeSettings | None = None
    """None: mailsluice makes no links."""
    ses: SesSettings = SesSettings()


class FromTables(Settings):
    """Settings from `tables`, overridden by the environment and flags."""

    @classmethod
    def settings_customise_sources(  # the library's signature
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let flags override the environment, and the environment override `tables`."""
        tables = init_settings.init_kwargs.pop("tables")  # type: ignore[attr-defined]  # ours
        return init_settings, env_settings, InitSettingsSource(settings_cls, tables)


class MailingFile(FromTables):
    """The settings with the mailing's own table."""

    mailing: dict[str, Any] = {}
