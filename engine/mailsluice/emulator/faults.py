r"""Faults: failures on purpose, by a script that does the same on every run of one seed.

The script is a TOML or JSON file (`mailsluice emulator --faults FILE`), or is built in Python:

    seed = 7                        # default 0

    [[entry]]                       # fails single recipients
    address = "*@slow.example.com"  # exact, or with * and ?, in any letter case. Default: all
    status = "TRANSIENT_FAILURE"    # any status but SUCCESS, also one that SES does not know
    error = "Try again later."      # default: a text naming the status
    rate = 0.01                     # part of the matching attempts, 0-1. Default 1
    times = 2                       # only the first N attempts for an address; then `rate` is the
                                    # part of the addresses. Default: always

    [[call]]                        # fails whole calls
    fault = "error"                 # one of the list below
    code = "ThrottlingException"    # of "error": a code of SES; without it there is no SES body
    http_status = 400               # of "error": default the code's own, 500 without a code
    message = "Rate exceeded"       # of "error"
    accepted = false                # of "error": true accepts everything, then answers the error
    delay_s = 2.0                   # of "late"
    operation = "SendBulkEmail"     # or "GetAccount" or a reading one; these have no address
    address = "a@example.com"       # only calls that contain it; as above. Default "*"
    nth = [1, 3]                    # only these calls of the operation, counted from 1
    rate = 0.05                     # part of the matching calls. Default 1
    times = 1                       # only so many times in all. Default: always

    fault           accepted  what the client sees
    error           no *      the error
    reset_before    no        connection reset (RST)
    reset_after     yes       connection reset (RST)
    lost            yes       connection closed without an answer
    late            yes       the answer, `delay_s` later
    cut             yes       the head and half of the body, then closed
    broken          yes       200 with half of the JSON, as if it were the whole
    short           yes       200 with one result too few

The first rule that matches is applied. Only signed and well-formed calls are counted. A fault that
follows acceptance waits for a call of which at least a part is accepted: a call that is throttled
as a whole gets that answer.
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import tomllib
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from mailsluice.emulator.resources import Reading, Writing
from mailsluice.model.complaints import sentence
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

Kind = Literal["error", "reset_before", "reset_after", "lost", "late", "cut", "broken", "short"]
Operation = Literal["SendBulkEmail", "GetAccount"] | Reading | Writing
Rate = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

_strict = ConfigDict(extra="forbid")


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class EntryFault:
    """A rule for single recipients; see the module's docstring."""

    status: Annotated[str, Field(pattern="^[A-Z_]+$")]
    address: str = "*"
    error: str | None = None
    rate: Rate = 1.0
    times: Count | None = None

    @model_validator(mode="after")
    def _is_a_failure(self) -> EntryFault:
        if self.status == "SUCCESS":
            raise ValueError("SUCCESS is no fault; name one of the statuses of a failure")
        return self


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class CallFault:
    """A rule for whole calls; see the module's docstring."""

    fault: Kind
    code: str | None = None
    http_status: Annotated[int, Field(ge=300, le=599)] | None = None
    message: str | None = None
    accepted: bool = False
    delay_s: Annotated[float, Field(gt=0)] | None = None
    operation: Operation = "SendBulkEmail"
    address: str = "*"
    nth: tuple[Count, ...] | Count | None = None
    rate: Rate = 1.0
    times: Count | None = None

    @model_validator(mode="after")
    def _members_fit(self) -> CallFault:
        error_only = (self.code, self.http_status, self.message, self.accepted or None)
        if self.fault != "error" and any(value is not None for value in error_only):
            raise ValueError(
                'code, http_status, message and accepted belong to fault = "error"; remove them'
            )
        if (self.fault == "late") != (self.delay_s is not None):
            raise ValueError('delay_s belongs to fault = "late", which needs it')
        sends = self.operation == "SendBulkEmail"
        if not sends and (self.address != "*" or self.fault == "short"):
            raise ValueError(f"{self.operation} knows neither address nor results; remove them")
        return self

    @property
    def is_before(self) -> bool:
        """True if the fault strikes before anything is accepted."""
        return self.fault == "reset_before" or (self.fault == "error" and not self.accepted)


@checked_dataclass(frozen=True, slots=True, kw_only=True, config=_strict)
class Script:
    """All rules, in the order in which they are tried."""

    seed: int = 0
    entry: tuple[EntryFault, ...] = ()
    call: tuple[CallFault, ...] = ()


def load(path: Path) -> Script:
    """Load the script of a TOML file, or of a JSON file if its suffix is `.json`.

    Raises ConfigurationError with the file, the rule, the field and the remedy.
    """
    try:
        text = path.read_bytes()
        read = orjson.loads(text) if path.suffix == ".json" else tomllib.loads(text.decode())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(
            f"{path}: is not valid {path.suffix[1:] or 'TOML'}: {error}"
        ) from error
    return parse(read, str(path))


def parse(read: object, name: str) -> Script:
    """Read the script of a parsed document, which errors call `name`. Raises as `load` does."""
    try:
        return TypeAdapter(Script).validate_python(read)
    except ValidationError as error:
        raise ConfigurationError(_explained(error, name)) from error


def _explained(error: ValidationError, name: str) -> str:
    lines = []
    for found in error.errors(include_url=False):
        match found["loc"]:
            case (str(table), int(index), *rest):
                where = f"{table} rule {index + 1}"
            case location:
                where, rest = "the script", list(location)
        field = f", field '{rest[0]}'" if rest else ""
        value = f" (it is {found['input']!r})" if rest and found["type"] != "missing" else ""
        lines.append(f"{name}: {where}{field}: {_remedy(found)}{value}")
    return "\n".join(dict.fromkeys(lines))


def _remedy(error: Any) -> str:
    if error["type"] == "unexpected_keyword_argument":
        return "is not known; remove it, or see mailsluice.emulator.faults for the names"
    if error["type"] == "missing":
        return "is missing; add it"
    return sentence(error)


class Failure(NamedTuple):
    """The answer to a failing entry."""

    status: str
    error: str


class Faults:
    """A script while it runs: decides which rule strikes. It may be replaced at any time."""

    def __init__(self, script: Script | None = None) -> None:
        self.replace(script or Script())

    @property
    def script(self) -> Script:
        """The rules in force."""
        return self._script

    def replace(self, script: Script) -> None:
        """Start over with another script."""
        self._script = script
        self._entry = [_EntryRule(rule, script.seed, n) for n, rule in enumerate(script.entry)]
        self._call = [_CallRule(rule, script.seed, n) for n, rule in enumerate(script.call)]
        self._calls: Counter[str] = Counter()

    def add(self, *rules: EntryFault | CallFault) -> None:
        """Append rules to those in force, and start over."""
        entry = tuple(rule for rule in rules if isinstance(rule, EntryFault))
        call = tuple(rule for rule in rules if isinstance(rule, CallFault))
        script = self._script
        self.replace(Script(seed=script.seed, entry=script.entry + entry, call=script.call + call))

    def clear(self) -> None:
        """Remove all rules."""
        self.replace(Script(seed=self._script.seed))

    def begin(self, operation: Operation) -> int:
        """Count a call of this operation. Return its number, from 1."""
        self._calls[operation] += 1
        return self._calls[operation]

    def strike(
        self, operation: Operation, number: int, addresses: Iterable[str], *, before: bool
    ) -> CallFault | None:
        """Return the fault of this call, before or after acceptance; None if there is none."""
        if not self._call:
            return None
        known = list(addresses)
        for rule in self._call:
            fault = rule.fault
            fits = fault.operation == operation and fault.is_before == before
            if fits and rule.strikes(number, known):
                return fault
        return None

    def failures(self, entries: Sequence[Sequence[str]]) -> dict[int, Failure]:
        """Return the failing entries by position; `entries` are the addresses of each."""
        failures: dict[int, Failure] = {}
        for index, addresses in enumerate(entries) if self._entry else ():
            rule = next((rule for rule in self._entry if rule.strikes(addresses)), None)
            if rule is not None:
                failures[index] = rule.failure
        return failures


class _EntryRule:
    def __init__(self, fault: EntryFault, seed: int, number: int) -> None:
        self._fault = fault
        self._matches = _matcher(fault.address)
        self._key = f"{seed}/entry/{number}/"
        self._random = Random(self._key)
        self._struck: Counter[str] = Counter()
        text = fault.error or f"The emulator was told to answer {fault.status}."
        self.failure = Failure(fault.status, text)

    def strikes(self, addresses: Sequence[str]) -> bool:
        address = next(filter(self._matches, addresses), None)
        if address is None:
            return False
        if self._fault.times is None:
            return self._fault.rate >= 1 or self._random.random() < self._fault.rate
        if _share(self._key + address) >= self._fault.rate:
            return False
        self._struck[address] += 1
        return self._struck[address] <= self._fault.times


class _CallRule:
    def __init__(self, fault: CallFault, seed: int, number: int) -> None:
        self.fault = fault
        self._matches = _matcher(fault.address)
        self._anyone = fault.address == "*"
        self._nth = {fault.nth} if isinstance(fault.nth, int) else fault.nth
        self._random = Random(f"{seed}/call/{number}/")
        self._struck = 0

    def strikes(self, number: int, addresses: Sequence[str]) -> bool:
        fault = self.fault
        if fault.times is not None and self._struck >= fault.times:
            return False
        if self._nth is not None and number not in self._nth:
            return False
        if not (self._anyone or any(map(self._matches, addresses))):
            return False
        if fault.rate < 1 and self._random.random() >= fault.rate:
            return False
        self._struck += 1
        return True


def _matcher(pattern: str) -> Callable[[str], object]:
    return re.compile(fnmatch.translate(pattern), re.IGNORECASE).match


def _share(text: str) -> float:
    """Return a number in [0, 1) that depends only on the text, not on the order of calls."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
