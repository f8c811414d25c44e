"""The settings of `mailsluice worker`: an engine's, and where its work comes from."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from mailsluice.config.settings import QUEUE_URL, QUEUE_URL_EXAMPLE, FromTables, Table


class FolderSettings(Table):
    """`[folder]`: where mailings are dropped."""

    path: Path
    """Holds inbox/, working/, done/ and failed/; relative to the worker's file."""
    poll_s: float = Field(default=1.0, gt=0)
    """Seconds between two polls of the inbox."""
    at_once: int = Field(default=8, ge=1, le=64)
    """Mailings that are sent side by side."""
    hold_s: float = Field(default=60.0, gt=0)
    """Seconds after which a mailing that is held is tried again."""
    check: bool = True
    """True to check a mailing before its first call, and to hold it if an error is found."""


class QueueSettings(Table):
    """`[queue]`: the Amazon SQS queue that feeds the worker."""

    url: str = Field(pattern=QUEUE_URL, examples=[QUEUE_URL_EXAMPLE])
    in_hand: int = Field(default=1_000, ge=1, le=100_000)
    """Most messages that are received and have no outcome yet."""
    visibility_s: int = Field(default=60, ge=3, le=43_200)
    """Seconds for which a message is hidden from others; extended while the message is in hand."""
    wait_s: int = Field(default=20, ge=0, le=20)
    """Seconds that a poll of an empty queue lasts."""
    hold_s: float = Field(default=60.0, gt=0, le=43_200)
    """Seconds after which messages are tried again that could not be sent for an outside cause."""


class HttpSettings(Table):
    """`[http]`: the worker's interface."""

    host: str = "127.0.0.1"
    port: int = Field(default=8025, ge=0, le=65535)
    """TCP port; 0: any free one, which the log names."""
    token: str | None = Field(default=None, min_length=16)
    """Required as `Authorization: Bearer`; needed on any address but loopback."""
    unsubscribe: bool = False
    """True to answer one-click links at `/u/…`, for everybody and without the token."""

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
        """Return the URL of the interface."""
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


class LogSettings(Table):
    """`[log]`: what the worker says on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    """auto: JSON unless standard error is a terminal."""


class WorkerSettings(FromTables):
    """The settings of `mailsluice worker`: an engine's, and where its work comes from."""

    folder: FolderSettings
    queue: QueueSettings | None = None
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
