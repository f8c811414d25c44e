"""The control interface under `/_emulator/`, for tests and benchmarks in other processes.

    GET   /_emulator/statistics   requests and answers so far, as JSON
    GET   /_emulator/ledger       every accepted entry, as NDJSON (see mailsluice.emulator.ledger)
    GET   /_emulator/requests     the latest SendBulkEmail requests, as a JSON list
    GET   /_emulator/events?after=N  events published after the first N (default 0), as NDJSON
    POST  /_emulator/events       publishes at once what is planned for later
    GET   /_emulator/account      the account's settings
    PATCH /_emulator/account      changes some of them: {"rate_per_s": 5}
    PATCH /_emulator/resources    changes some of what the account has (see `resources`)
    PUT   /_emulator/faults       replaces the script of faults (see mailsluice.emulator.faults)

It is not part of SES, asks for no signature, and answers whatever the faults do.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from pydantic import ValidationError

from mailsluice.emulator import exchange, faults
from mailsluice.emulator.exchange import Answer, RefusedError, Request
from mailsluice.emulator.service import Reply
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from mailsluice.emulator.service import Service

PREFIX = "/_emulator/"


def handle(service: Service, request: Request, now: float) -> Reply:
    """Answer one request to the control interface."""
    path = request.target.partition("?")[0].removeprefix(PREFIX)
    try:
        if request.method == "GET":
            return _read(service, request, path)
        return _change(service, request, now)
    except RefusedError as error:
        return Reply(error.answer)
    except (ConfigurationError, ValidationError, TypeError) as error:
        return Reply(exchange.refusal("BadRequestException", str(error)))


def _read(service: Service, request: Request, path: str) -> Reply:
    match path:
        case "ledger":
            nothing = Answer(200, b"", content_type="application/x-ndjson")
            return Reply(nothing, stream=service.ledger.lines())
        case "events":
            return _events(service, request.target)
        case "requests":
            return Reply(Answer(200, b"[" + b",".join(service.bodies) + b"]"))
        case "account":
            return _account(service)
        case _:
            raise _unknown()


def _change(service: Service, request: Request, now: float) -> Reply:
    match request.method, request.target:
        case "PATCH", "/_emulator/account":
            service.account.change(now, **_object(request.body))
            return _account(service)
        case "POST", "/_emulator/events" if service.publisher is not None:
            service.publisher.release()
            return Reply(Answer(204, b""))
        case "PATCH", "/_emulator/resources":
            service.change_resources(_object(request.body))
            return Reply(Answer(204, b""))
        case "PUT", "/_emulator/faults":
            service.faults.replace(faults.parse(_object(request.body), "request"))
            return Reply(Answer(204, b""))
        case _:
            raise _unknown()


def _events(service: Service, target: str) -> Reply:
    asked = dict(parse_qsl(urlsplit(target).query)).get("after", "0")
    try:
        found = service.publisher.after(int(asked)) if service.publisher is not None else []
    except (ValueError, LookupError) as error:
        raise RefusedError("BadRequestException", str(error)) from None
    lines = b"".join(body + b"\n" for body in found)
    return Reply(Answer(200, lines, content_type="application/x-ndjson"))


def _unknown() -> RefusedError:
    return RefusedError("UnknownOperationException", f"See {__name__} for what there is.")


def _account(service: Service) -> Reply:
    return Reply(exchange.document(dataclasses.asdict(service.account.settings)))


def _object(body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RefusedError("SerializationException", str(error)) from None
    if not isinstance(read, dict):
        raise RefusedError("SerializationException", "a JSON object is wanted")
    return read
