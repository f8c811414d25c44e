"""Bodies that were events: bytes flipped, cut, doubled; values exchanged, keys taken away."""

from __future__ import annotations

import gzip
from random import Random
from typing import Any

import orjson

from tests.feedback import shapes

STRANGE: list[Any] = [
    *(None, True, -1, 10**18, 1.5e308, "", "\x00", "\U0001f600", "a" * 5_000, [], {}, [[]]),
    *([None], {"": None}, "9999-99-99T99:99:99Z", "0001-01-01T00:00:00+14:00", "2026-11-26"),
    [shapes.TO],
    {"emailAddress": {"emailAddress": 1}},
    [{"emailAddress": ["a"]}, "a", 7],
]

SEEDS = [
    *(wrap(event) for wrap in shapes.WRAPPINGS for event in shapes.ALL.values()),
    orjson.dumps(shapes.NOTIFICATION),
    orjson.dumps(shapes.CONFIRMATION),
    shapes.VALIDATED,
]


def bodies(random: Random, count: int) -> list[bytes]:
    """So many of them."""
    return [_mutated(random) for _ in range(count)]


def _mutated(random: Random) -> bytes:
    body = random.choice(SEEDS)
    for _ in range(random.randint(1, 3)):
        how = random.randrange(6)
        if how < 3:
            body = _other_value(random, body)
        elif how == 3 and body:
            at = random.randrange(len(body))
            body = body[:at] + bytes([random.randrange(256)]) + body[at + 1 :]
        elif how == 4:
            body = body[: random.randrange(len(body) + 1)]
        else:
            at = random.randrange(len(body) + 1)
            body = body[:at] + random.choice(SEEDS) + body[at:]
    if random.random() < 0.02:
        body = gzip.compress(body, 1, mtime=0)[: random.randrange(1, 4_000)]
    return body


def _other_value(random: Random, body: bytes) -> bytes:
    """The same JSON with one value exchanged or one key taken away; also within a text of it."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    _change(random, value)
    return orjson.dumps(value)


def _change(random: Random, value: Any) -> None:
    while isinstance(value, dict | list) and value:
        key: Any = random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        inner = value[key]
        if isinstance(inner, dict | list) and inner and random.random() < 0.8:
            value = inner
            continue
        if key == "Message" and random.random() < 0.8:
            value[key] = _other_value(random, str(inner).encode()).decode()
        elif random.random() < 0.3:
            value.pop(key)
        else:
            value[key] = random.choice(STRANGE)
        return
