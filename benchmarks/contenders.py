"""What a user would write instead of mailsluice, each as short as it is usually written.

    python benchmarks/contenders.py NAME LIST.csv URL

Each reads the list, makes batches of 50 and sends them; none journals, retries or paces.
"""

# ruff: noqa: PLC0415  # each contender loads only what it is made of

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

AT_ONCE = 32
SIZE = 50
REGION = "us-east-1"
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
FIXED = {
    "FromEmailAddress": "News <news@example.com>",
    "DefaultContent": {
        "Template": {"TemplateName": "welcome", "TemplateData": '{"city":"Lisbon"}'}
    },
}


def batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Entries of 50 rows each."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = enumerate(csv.DictReader(file))
        while batch := [_entry(n, row) for n, row in islice(rows, SIZE)]:
            yield batch


def _entry(n: int, row: dict[str, str]) -> dict[str, Any]:
    data = json.dumps({"name": row["name"], "code": row["code"]})
    return {
        "Destination": {"ToAddresses": [row["email"]]},
        "ReplacementTags": [
            {"Name": "campaign", "Value": "november"},
            {"Name": "id", "Value": f"run-{n}"},
        ],
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}},
    }


def _sdk() -> dict[str, Any]:
    return {"region_name": REGION, "aws_access_key_id": KEY, "aws_secret_access_key": SECRET}


def boto3_loop(path: Path, url: str) -> None:
    """One call after the other."""
    import boto3  # type: ignore[import-untyped]

    client = boto3.client("sesv2", endpoint_url=url, **_sdk())
    for entries in batches(path):
        client.send_bulk_email(**FIXED, BulkEmailEntries=entries)


def boto3_threads(path: Path, url: str) -> None:
    """Use a thread for each call under way."""
    import boto3
    from botocore.config import Config

    config = Config(max_pool_connections=AT_ONCE)
    client = boto3.client("sesv2", endpoint_url=url, config=config, **_sdk())
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(
            lambda entries: client.send_bulk_email(**FIXED, BulkEmailEntries=entries), batches(path)
        ):
            pass


def aioboto3_semaphore(path: Path, url: str) -> None:
    """Make a task per call, as many at once as a semaphore allows."""
    import aioboto3
    from aiobotocore.config import AioConfig

    async def main() -> None:
        semaphore = asyncio.Semaphore(AT_ONCE)
        config = AioConfig(max_pool_connections=AT_ONCE)
        async with (
            aioboto3.Session().client("sesv2", endpoint_url=url, config=config, **_sdk()) as client,
            asyncio.TaskGroup() as tasks,
        ):

            async def send(entries: list[dict[str, Any]]) -> None:
                try:
                    await client.send_bulk_email(**FIXED, BulkEmailEntries=entries)
                finally:
                    semaphore.release()

            for entries in batches(path):
                await semaphore.acquire()
                tasks.create_task(send(entries))

    asyncio.run(main())


def anymail(path: Path, url: str) -> None:
    """django-anymail's SES backend: a message with merge data a batch, over one connection."""
    from django.conf import settings
    from django.core.mail import EmailMessage, get_connection

    settings.configure(
        EMAIL_BACKEND="anymail.backends.amazon_ses.EmailBackend",
        ANYMAIL={"AMAZON_SES_CLIENT_PARAMS": {"endpoint_url": url, **_sdk()}},
    )
    with get_connection() as connection, path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        while batch := list(islice(rows, SIZE)):
            message = EmailMessage(
                from_email=FIXED["FromEmailAddress"],
                to=[row["email"] for row in batch],
                connection=connection,
            )
            message.template_id = "welcome"
            message.merge_global_data = {"city": "Lisbon"}
            message.merge_data = {
                row["email"]: {"name": row["name"], "code": row["code"]} for row in batch
            }
            message.send()


def bare_wire(path: Path, url: str) -> None:
    """aiohttp, orjson and SigV4, and nothing else: the limit of what Python can do."""
    import aiohttp
    import orjson
    import uvloop

    host = url.partition("//")[2]
    target = "/v2/email/outbound-bulk-emails"

    async def main() -> None:
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        async with aiohttp.ClientSession(connector=connector) as session:
            source = batches(path)

            async def worker() -> None:
                for entries in source:
                    body = orjson.dumps({**FIXED, "BulkEmailEntries": entries})
                    headers = _signed(host, target, body)
                    async with session.post(url + target, data=body, headers=headers) as answer:
                        orjson.loads(await answer.read())

            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_ONCE):
                    tasks.create_task(worker())

    uvloop.run(main())


_keys: dict[str, bytes] = {}


def _signed(host: str, target: str, body: bytes) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{REGION}/ses/aws4_request"
    names = "content-type;host;x-amz-date"
    canonical = (
        f"POST\n{target}\n\ncontent-type:application/json\nhost:{host}\nx-amz-date:{now}\n\n{names}\n"
        f"{hashlib.sha256(body).hexdigest()}"
    )
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _keys.get(scope)
    if key is None:
        key = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        _keys[scope] = key
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {
        "Content-Type": "application/json",
        "X-Amz-Date": now,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, "
        f"Signature={signature}",
    }


def mailsluice_without_journal(path: Path, url: str) -> None:
    """Use the library, over the same list."""
    from mailsluice import Engine, Mailing, Settings
    from mailsluice.cli import runtime
    from mailsluice.config.settings import SesSettings
    from mailsluice.sources import Fields, files

    async def main() -> None:
        mailing = Mailing(
            from_address=FIXED["FromEmailAddress"],
            template="welcome",
            data={"city": "Lisbon"},
            tags={"campaign": "november"},
        )
        async with Engine.open(Settings(ses=SesSettings(endpoint_url=url))) as engine:
            await engine.run(mailing, files.open_source(path, Fields()))

    runtime.run(main())


CONTENDERS: dict[str, Callable[[Path, str], None]] = {
    each.__name__: each
    for each in (
        boto3_loop,
        boto3_threads,
        aioboto3_semaphore,
        anymail,
        bare_wire,
        mailsluice_without_journal,
    )
}

if __name__ == "__main__":
    CONTENDERS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
