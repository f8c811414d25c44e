"""What a seed stands for: a list, an account, a network, and how much goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from mailsluice import Recipient
from mailsluice.emulator import AccountSettings, CallFault, EntryFault, Script
from mailsluice.emulator.faults import Kind
from mailsluice.model import InDoubt

ERRORS = (
    ("TooManyRequestsException", None, False),
    ("ThrottlingException", None, False),
    ("ServiceUnavailable", None, False),
    ("InternalFailure", None, False),
    ("InternalFailure", None, True),
    (None, 502, True),
)
"""Code, HTTP status, accepted: what SES answers to whole calls now and then."""

ENTRY_STATUSES = ("TRANSIENT_FAILURE", "FAILED", "MESSAGE_REJECTED", "ACCOUNT_THROTTLED", "NOVEL")

WIRE_FAULTS: tuple[Kind, ...] = ("reset_before", "reset_after", "lost", "cut", "broken", "short")

HOLDS = ("TEMPLATE_NOT_FOUND", "ACCOUNT_SENDING_PAUSED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """How likely each kind of trouble is in a process, 0-1."""

    crash: float
    crash_after_s: float
    """Seconds after which a process that crashes does so, on an average."""
    crash_at_commit: float
    journal: float
    stop: float
    cancel: float
    source: float
    mode: float
    """That `in_doubt` is another one than before."""
    only: float
    """That an operator sends a part of the finished run once more."""
    resolve: float
    """That an operator answers the doubts between two processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What a seed draws."""

    seed: int
    recipients: tuple[Recipient, ...]
    account: AccountSettings
    changes: tuple[tuple[float, dict[str, Any]], ...]
    """Moments at which the account becomes another one."""
    faults: Script
    latency_s: tuple[float, float]
    unreachable: float
    in_flight: int
    in_doubt: InDoubt
    trouble: Trouble
    keyed: bool
    """Whether recipients have keys, and come in another order in each process."""


def draw(seed: int) -> Scenario:
    """What this seed stands for. Each kind of trouble is there in about a quarter of the seeds."""
    random = Random(seed)
    rate = random.choice([1.0, 5.0, 14.0, 60.0, 500.0])
    count = random.randint(0, int(min(30 * rate, 500)))
    account = AccountSettings(
        rate_per_s=rate,
        daily_max=random.choice([-1, -1, 3 * rate + 60]),
        day_s=60.0,
        lag_s=random.choice([0.0, 0.0, 5.0]),
        model=random.choice(["strict", "strict", "debt"]),
        throttles=random.choice(["call", "entry"]),
        daily_refuses=random.choice(["call", "entry"]),
        conditions_refuse=random.choice(["call", "entry"]),
        get_account_per_s=random.choice([0.0, 1.0]),
    )
    return Scenario(
        seed=seed,
        recipients=tuple(_recipients(random, count)),
        account=account,
        changes=tuple(_changes(random, rate)) if _buggy(random) else (),
        faults=Script(seed=seed, entry=_entry_faults(random, count), call=_call_faults(random)),
        latency_s=random.choice([(0.01, 0.05), (0.05, 0.3), (0.5, 5.0), (0.02, 70.0)]),
        unreachable=_buggy(random),
        in_flight=random.choice([1, 2, 8, 32]),
        in_doubt=random.choice(["hold", "resend"]),
        trouble=Trouble(
            crash=random.choice([0.0, 0.3, 0.8]),
            crash_after_s=random.choice([5.0, 5.0, 0.3]),
            crash_at_commit=random.choice([0.0, 0.0, 0.5]),
            journal=_buggy(random),
            stop=_buggy(random),
            cancel=_buggy(random),
            source=_buggy(random),
            mode=random.choice([0.0, 0.0, 0.0, 0.5]),
            only=random.choice([0.0, 0.5]),
            resolve=random.choice([0.0, 0.0, 0.3]),
        ),
        keyed=random.random() < 0.25,
    )


def _buggy(random: Random) -> float:
    """FoundationDB's way: most runs are free of a trouble, the others have it often."""
    return random.choice([0.05, 0.25]) if random.random() < 0.25 else 0.0


def _recipients(random: Random, count: int) -> list[Recipient]:
    odd = random.random() < 0.5
    made: list[Recipient] = []
    for n in range(count):
        to: tuple[str, ...] = (f"u{n}@example.com",)
        if odd and random.random() < 0.06:
            to = random.choice([("no-at",), (f"U{n // 2}@Example.com",), (*to, f"v{n}@e.org")])
        made.append(Recipient(to=to))
    return made


def _changes(random: Random, rate: float) -> list[tuple[float, dict[str, Any]]]:
    """The account is cut, widened, paused for a while."""
    changes: list[tuple[float, dict[str, Any]]] = []
    for _ in range(random.randint(1, 3)):
        at = random.uniform(0, 60)
        if random.random() < 0.3:
            changes += [(at, {"sending_enabled": False}), (at + 20, {"sending_enabled": True})]
        else:
            changes.append((at, {"rate_per_s": rate * random.choice([0.5, 2.0])}))
    return changes


def _entry_faults(random: Random, count: int) -> tuple[EntryFault, ...]:
    faults = [
        EntryFault(status=status, rate=rate)
        for status in ENTRY_STATUSES
        if (rate := _buggy(random))
    ]
    if count and _buggy(random):
        status = random.choice(HOLDS)
        faults.append(EntryFault(status=status, address=f"u{random.randrange(count)}@*", times=1))
    return tuple(faults)


def _call_faults(random: Random) -> tuple[CallFault, ...]:
    faults = [CallFault(fault=kind, rate=rate) for kind in WIRE_FAULTS if (rate := _buggy(random))]
    faults += [
        CallFault(fault="error", code=code, http_status=status, accepted=accepted, rate=rate)
        for code, status, accepted in ERRORS
        if (rate := _buggy(random))
    ]
    if random.random() < 0.4:
        code = random.choice(["BadRequestException", "MessageRejected"])
        addresses = [f"u{n}@example.com" for n in random.sample(range(100), random.choice([1, 5]))]
        faults += [CallFault(fault="error", code=code, address=each) for each in addresses]
    if rate := _buggy(random):
        faults.append(
            CallFault(
                fault="error", code="TooManyRequestsException", operation="GetAccount", rate=rate
            )
        )
    return tuple(faults)
