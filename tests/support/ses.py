"""Answers of SES as bytes, and what a request to it needs."""

from __future__ import annotations

import orjson

from tests.support.peer import Exchange, Script

BODY = b'{"BulkEmailEntries":[]}'

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "anything"}


def results(*each: dict[str, str]) -> bytes:
    """The body of an answer."""
    return orjson.dumps({"BulkEmailEntryResults": list(each)})


SUCCESS = [{"Status": "SUCCESS", "MessageId": f"id-{n}"} for n in range(3)]

OK = results(*SUCCESS)


def answering(status: int, body: bytes, code: str | None = None) -> Script:
    """Read the request, answer it."""

    def script(exchange: Exchange) -> None:
        if exchange.read_head():
            exchange.read_body()
            exchange.answer(status, body, code)

    return script
