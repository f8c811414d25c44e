"""The settings of an emulator: one frozen tree."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.account import AccountSettings
from mailsluice.emulator.events.script import Script as EventScript
from mailsluice.emulator.faults import Script
from mailsluice.emulator.resources import Resources
from mailsluice.emulator.signature import Credentials
from mailsluice.emulator.submission import AddressFaults
from mailsluice.model.errors import ArgumentError

_strict = ConfigDict(extra="forbid")
_latency = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(?:-(\d+(?:\.\d*)?|\.\d+))?").fullmatch


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Latency:
    """How long an answer takes: drawn evenly between two bounds, which may be equal."""

    low_s: Annotated[float, Field(ge=0)] = 0.0
    high_s: Annotated[float, Field(ge=0)] = 0.0
    seed: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> Latency:
        if self.high_s < self.low_s:
            raise ValueError("high_s is below low_s")
        return self

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> Latency:
        """Parse `"0.05"` or `"0.02-0.3"`, seconds. Raises ArgumentError."""
        match = _latency(text.strip())
        if match is None:
            raise ArgumentError(f"{text!r} is no latency: write seconds as 0.05, or as 0.02-0.3")
        low_s, high_s = float(match[1]), float(match[2] or match[1])
        if high_s < low_s:
            raise ArgumentError(f"{text!r} is no latency: write the shorter one first")
        return cls(low_s=low_s, high_s=high_s, seed=seed)

    def random(self) -> Random:
        """Return the seeded generator to draw from."""
        return Random(self.seed)


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class EmulatorOptions:
    """The settings of an emulator."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """0: any free one."""
    credentials: Credentials | None = Credentials()
    """Credentials with which requests must be signed; None: signatures are not checked."""
    region: str | None = None
    """Region for which requests must be signed; None: any."""
    account: AccountSettings = AccountSettings()
    latency: Latency = Latency()
    faults: Script = Script()
    ledger: Path | None = None
    """File to which accepted entries are appended; None: they are kept in memory."""
    resources: Resources = Resources()
    """Identities, templates, configuration sets, tenants, and which operations may read them."""
    events: EventScript | None = None
    """What SES publishes about accepted mail; None: nothing."""
    address_faults: AddressFaults = "entry"
    """Whether a bad address fails its entry or the whole call."""
    default_tags: bool = True
    """False drops DefaultEmailTags, as seen in boto3#4838."""
