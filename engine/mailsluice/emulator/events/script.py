"""The script of events: what becomes of which recipients, and how their events travel. Pure.

A TOML file (`mailsluice emulator --events FILE`), or the same in Python:

    seed = 7
    wrapping = "sns"             # as SNS hands it to SQS; "raw": raw delivery; "eventbridge"
    queue = "http://127.0.0.1:5000/1/events"      # an SQS queue of moto, LocalStack, ElasticMQ
    file = "events.ndjson"       # appended, one event a line; both may be given, or neither
    publishing_s = { median = 0.3, sigma = 0.7 }  # from what happens to its event; or a number
    copies = 0.02                # part of the events that come two to eight times
    loss = 0.001                 # part of the events that never come
    shuffle_s = 0                # each event up to so much later, drawn evenly
    send_before_failure = false  # a Send before a Rendering Failure: not known of SES

    [[rule]]                     # of several that fit an address, the first is taken
    address = "*@example.com"    # exact, or with * and ?, in any letter case. Default: all
    bounce = 0.02                # parts of the recipients: Permanent/General
    bounce_s = { median = 5, sigma = 1.5 }

The parts of a rule: `silent` (no event at all), `reject`, `bounce`, `soft_bounce` and otherwise a
delivery; `late_bounce`, `complaint`, `open`, `unsubscribe` of those delivered, `click` of those who
open; `delay`, of all that is neither silent nor rejected. Each has a time: `bounce_s`,
`complaint_s` and so on, seconds after the mail was accepted (after the delivery, for what needs
one), log-normal with this median, or a fixed number.

Addresses of the mailbox simulator do what they do with SES, whatever the rules say. A mail without
a configuration set has no events, and one with a set has those that its destinations ask for.
"""

from __future__ import annotations

import fnmatch
import math
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.model.complaints import sentence
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from random import Random

Share = Annotated[float, Field(ge=0, le=1)]
Wrapping = Literal["sns", "raw", "eventbridge"]

KEPT = 100_000
"""Newest events that can be asked for again."""

_strict = ConfigDict(extra="forbid")


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Lag:
    """A time that is drawn: log-normal; a sigma of 0 is the median itself."""

    median: Annotated[float, Field(ge=0)]
    """Seconds."""
    sigma: Annotated[float, Field(ge=0, le=5)] = 0.0

    def draw(self, random: Random) -> float:
        """Return one, in seconds."""
        return self.median * math.exp(random.gauss(0, self.sigma)) if self.sigma else self.median


def _lag(given: Any) -> Any:
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return {"median": given} if is_number else given


Seconds = Annotated[Lag, BeforeValidator(_lag)]


@checked_dataclass(frozen=True, kw_only=True, config=_strict)
class Rule:
    """What becomes of the recipients that an address fits; see the module's docstring."""

    address: str = "*"
    silent: Share = 0.0
    reject: Share = 0.0
    bounce: Share = 0.0
    bounce_sub_type: str = "General"
    """`OnAccountSuppressionList`: SES does not try."""
    soft_bounce: Share = 0.0
    soft_bounce_sub_type: str = "MailboxFull"
    late_bounce: Share = 0.0
    delay: Share = 0.0
    complaint: Share = 0.0
    complaint_type: str = "abuse"
    open: Share = 0.0
    click: Share = 0.0
    unsubscribe: Share = 0.0
    delivery_s: Seconds = Lag(median=2, sigma=1)
    reject_s: Seconds = Lag(median=1)
    bounce_s: Seconds = Lag(median=5, sigma=1.5)
    soft_bounce_s: Seconds = Lag(median=60, sigma=1)
    late_bounce_s: Seconds = Lag(median=600, sigma=1)
    delay_s: Seconds = Lag(median=1, sigma=0.5)
    """The delivery or bounce comes `delay_s` after the report of the delay at the earliest."""
    complaint_s: Seconds = Lag(median=3_600, sigma=1)
    open_s: Seconds = Lag(median=1_800, sigma=1)
    click_s: Seconds = Lag(median=30, sigma=1)
    """After the opening."""
    unsubscribe_s: Seconds = Lag(median=1_800, sigma=1)

    @model_validator(mode="after")
    def _one_thing_each(self) -> Rule:
        if self.silent + self.reject + self.bounce + self.soft_bounce > 1:
            raise ValueError("silent, reject, bounce and soft_bounce exclude each other: 1 at most")
        return self

    @cached_property
    def fits(self) -> re.Pattern[str]:
        """The pattern that addresses must match."""
        return re.compile(fnmatch.translate(self.address), re.IGNORECASE)


@checked_dataclass(frozen=True, kw_only=True, config=_strict)
class Script:
    """What is published, and how; see the module's docstring."""

    seed: int = 0
    wrapping: Wrapping = "sns"
    queue: str | None = None
    file: Path | None = None
    kept: Annotated[int, Field(ge=0)] = KEPT
    publishing_s: Seconds = Lag(median=0.3, sigma=0.7)
    copies: Share = 0.0
    loss: Share = 0.0
    shuffle_s: Annotated[float, Field(ge=0)] = 0.0
    send_before_failure: bool = False
    rule: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _stays_here(self) -> Script:
        host = urlsplit(self.queue or "http://here").hostname
        if not host or not (self.queue or "http").startswith("http"):
            raise ValueError("queue: it must be the URL of an SQS queue, as http://host:port/1/q")
        if host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            raise ValueError("queue: emulated events do not belong into a queue of AWS")
        return self

    def rule_of(self, address: str) -> Rule:
        """Return the first rule that fits."""
        return next((rule for rule in self.rule if rule.fits.match(address)), _DELIVERED)


_DELIVERED = Rule()


def load(path: Path) -> Script:
    """Read a TOML file. Raises ConfigurationError with the file and the field."""
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: is not valid TOML: {error}") from error
    return parse(read, str(path))


def parse(read: object, name: str) -> Script:
    """Check a parsed document; errors call it `name`. Raises as `load` does."""
    try:
        return TypeAdapter(Script).validate_python(read)
    except ValidationError as error:
        lines = [
            f"{name}: {'.'.join(map(str, found['loc']))}: {_remedy(found)}"
            for found in error.errors(include_url=False)
        ]
        raise ConfigurationError("\n".join(lines)) from error


def _remedy(error: Any) -> str:
    if error["type"] == "unexpected_keyword_argument":
        return "it is not known; see mailsluice.emulator.events.script for the names"
    return sentence(error)
