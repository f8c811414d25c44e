"""The bytes of an object in S3, in bounded blocks, decompressed if they are gzip.

Each part is a request of its own, held to the version that the first one saw: a mailing may take
days, S3 closes a connection from which nothing is read, and the SDK repeats a request that fails.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
from aiobotocore.config import AioConfig
from anyio import to_thread
from botocore import exceptions as botocore_errors

from mailsluice.model import Head, SourceIdentity
from mailsluice.model.errors import SourceChangedError, SourceError, SourceUnavailableError
from mailsluice.ses import aws
from mailsluice.ses.aws.credentials import CredentialsUnavailableError
from mailsluice.ses.aws.http import ANSWER_BYTES_MAX
from mailsluice.sources.blocks import S3_SCHEME, Unpacker

PART_BYTES = ANSWER_BYTES_MAX
"""Stored bytes in one request: some 16,000 rows."""

ANSWER_TIMEOUT_S = 60.0
"""Longest silence, seconds. A part may take this and the time to connect: 10 kB/s at least."""

ERROR_CHARS_MAX = 500
"""Characters of the SDK's text that are kept: it may quote all that a peer has sent."""

ATTEMPTS_MAX = 4
"""Attempts of the SDK per request; with its back-off they bridge some seconds without S3."""

_ELSEWHERE = (
    "S3 redirects to another place without naming the bucket's region; put the list into a bucket "
    "in the region of [ses], or check AWS_ENDPOINT_URL_S3"
)

_REASONS = {
    **dict.fromkeys(
        ("301", "302", "303", "307", "308", "PermanentRedirect", "Redirect", "TemporaryRedirect"),
        _ELSEWHERE,
    ),
    "404": "there is no such object",
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object",
    "403": "it may not be read; allow s3:GetObject",
    "AccessDenied": "it may not be read; allow s3:GetObject",
    "PreconditionFailed": "it has been replaced while it was read",
    "412": "it has been replaced while it was read",
}


_REPLACED = {"PreconditionFailed", "412"}

_FINAL = {code for code, reason in _REASONS.items() if reason != _REASONS["403"]}
"""Error codes that neither time nor a permission can cure."""


_UNREADABLE = (
    CredentialsUnavailableError,
    botocore_errors.BotoCoreError,
    aiohttp.ClientError,
    OSError,
    # As the SDK's parsers and we stumble over what no S3 answers.
    LookupError,
    ValueError,
)


class S3Object(NamedTuple):
    """An object as a listing shows it."""

    url: str
    tag: str
    """Another one for other content."""
    size: int


async def objects(
    url: str, *, region: str | None, profile: str | None
) -> AsyncGenerator[S3Object, None]:
    """Iterate over the objects of `s3://bucket/prefix`, by key. Raises SourceError."""
    bucket, _, prefix = url.removeprefix(S3_SCHEME).partition("/")
    async with _client_for(url, region, profile) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        async for page in pages:
            for each in page.get("Contents", ()):
                yield S3Object(f"{S3_SCHEME}{bucket}/{each['Key']}", each["ETag"], each["Size"])


class S3Blocks:
    """The content of one object, `s3://bucket/key`; as `blocks.Blocks`.

    Region, profile and endpoint are resolved as every AWS SDK does. Raises SourceError, naming the
    object, if it is missing, may not be read, or is replaced while it is read.
    """

    def __init__(self, url: str, *, region: str | None, profile: str | None) -> None:
        bucket, _, key = url.removeprefix(S3_SCHEME).partition("/")
        if not bucket or not key:
            raise SourceError(f"{url}: write it as s3://bucket/key")
        self.path = url
        self.name = url
        self._region = region
        self._profile = profile
        self._object = {"Bucket": bucket, "Key": key}
        self._size: int | None = None
        self._version: str | None = None
        """The entity tag that `identify` saw."""
        self._stored_read = 0
        self._hash = hashlib.sha256()
        self._unpacker = Unpacker()

    async def identify(self) -> SourceIdentity:
        """Return size, modification time and entity tag; other content has another tag."""
        async with self._client() as client:
            head = await client.head_object(**self._object)
        self._size, self._version = head["ContentLength"], head["ETag"]
        return SourceIdentity(
            name=self.name,
            size=head["ContentLength"],
            modified=head["LastModified"].timestamp(),
            tag=self._version,
        )

    async def head_of(self, size: int) -> Head:
        """Return the first `size` stored bytes, or all."""
        digest, read = hashlib.sha256(), 0
        async with self._client() as client:
            while (left := min(size, self._size or 0) - read) > 0:
                stored = await self._part(client, read, min(left, PART_BYTES))
                digest.update(stored)
                read += len(stored)
        return Head(read, digest.hexdigest())

    @property
    def head(self) -> Head:
        """The stored bytes read so far."""
        return Head(self._stored_read, self._hash.hexdigest())

    @property
    def again(self) -> S3Blocks:
        """Return the same content, to be read independently."""
        return S3Blocks(self.path, region=self._region, profile=self._profile)

    @property
    def trailing(self) -> int:
        """Bytes after the end of a gzip stream, which were skipped."""
        return self._unpacker.trailing

    @property
    def fraction_read(self) -> float | None:
        """Part of the stored bytes handed on so far; None before its size is known."""
        if self._size is None:
            return None
        handed_on = self._stored_read - self._unpacker.held
        return min(1.0, handed_on / self._size) if self._size else 1.0

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Yield all content of the version that was identified last, from its beginning.

        Raises SourceError as the class says, BrokenGzipError after the last content before the
        break.
        """
        if self._version is None:
            await self.identify()
        self._stored_read = 0
        self._hash = hashlib.sha256()
        self._unpacker = unpacker = Unpacker()
        async with self._client() as client:
            while (left := (self._size or 0) - self._stored_read) > 0:
                stored = await self._part(client, self._stored_read, min(left, PART_BYTES))
                self._stored_read += len(stored)
                self._hash.update(stored)
                unpacker.push(stored)
                while block := await to_thread.run_sync(unpacker.pull):
                    yield block
        if block := unpacker.finish():
            yield block

    async def _part(self, client: Any, first: int, size: int) -> bytes:
        """Read `size` bytes. Raises SourceUnavailableError if S3 gives more or fewer."""
        response = await client.get_object(
            **self._object, IfMatch=self._version, Range=f"bytes={first}-{first + size - 1}"
        )
        stored = bytearray()
        async with (body := response["Body"]):
            # To the end, which gives the connection back; one byte more than asked for is an error.
            while len(stored) <= size and (block := await body.read(size + 1 - len(stored))):
                stored += block
        if len(stored) > size:
            raise SourceUnavailableError(
                f"{self.name} cannot be read: S3 was asked for {size:,} bytes from {first:,} on, "
                f"and its answer is longer than {size:,} bytes"
            )
        if len(stored) != size:
            raise SourceUnavailableError(
                f"{self.name} cannot be read: S3 was asked for {size:,} bytes from {first:,} on "
                f"and answered {len(stored):,}"
            )
        return bytes(stored)

    def _client(self) -> AbstractAsyncContextManager[Any]:
        return _client_for(self.name, self._region, self._profile)


@asynccontextmanager
async def _client_for(name: str, region: str | None, profile: str | None) -> AsyncIterator[Any]:
    """Open a client whose errors name what was to be read. Raises SourceError."""
    region = region or os.environ.get("AWS_REGION")
    config = AioConfig(
        read_timeout=ANSWER_TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS_MAX, "mode": "standard"},
    )
    try:
        async with aws.session(profile, region).client("s3", config=config) as client:
            client.meta.events.register("before-call.s3.HeadBucket", _stay)
            yield client
    except botocore_errors.ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        kind: type[SourceError] = SourceUnavailableError
        if code in _FINAL:
            kind = SourceChangedError if code in _REPLACED else SourceError
        raise kind(f"{name}: {_REASONS.get(code, error)}") from error
    except _UNREADABLE as error:
        reason = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
        raise SourceUnavailableError(f"{name} cannot be read: {reason}") from error


def _stay(params: dict[str, Any], **_: Any) -> None:
    """Tell the SDK that HeadBucket has been redirected already.

    The SDK asks by it for the region of a bucket that S3 redirects without naming one, and a
    redirect of that would be asked about without end.
    """
    params["context"]["s3_redirect"]["redirected"] = True
