"""An SES that accepts everything and looks at nothing, so that it costs next to nothing.

python benchmarks/null_server.py        prints its port; ends with its standard input

`GET /given` says to how many recipients it has given a MessageId, and when the first call came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

RESULT = '{"Status":"SUCCESS","MessageId":"010001a20f672af8-17e4feab-dc08-e4f3-1182-%012x-000000"}'
ACCOUNT = {
    "SendQuota": {"MaxSendRate": 1e9, "Max24HourSend": -1, "SentLast24Hours": 0},
    "SendingEnabled": True,
    "EnforcementStatus": "HEALTHY",
    "ProductionAccessEnabled": True,
}


def _answer(body: str) -> bytes:
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Ids:
    """Message ids that never repeat, as SES's do."""

    def __init__(self) -> None:
        self.given = 0
        self.first_at: float | None = None
        """When the first call came after GetAccount: seconds since the epoch."""

    def answer(self, entries: int) -> bytes:
        """Every one of so many entries is sent."""
        self.first_at = self.first_at or time.time()
        first, self.given = self.given, self.given + entries
        results = ",".join([RESULT % n for n in range(first, self.given)])
        return _answer(f'{{"BulkEmailEntryResults":[{results}]}}')


class Connection(asyncio.Protocol):
    """Reads by length, and counts entries by their destinations."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one but by name
        self._read = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer what is complete."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._read[:end]).lower()
            _, _, after = head.partition(b"content-length:")
            length = int(after.split(b"\r", 1)[0] or 0) if after else 0
            if len(self._read) < end + 4 + length:
                return
            if head.startswith(b"get /given"):
                answer = _answer(json.dumps(vars(self._ids)))
            elif head.startswith(b"get"):
                self._ids.first_at = None
                answer = _answer(json.dumps(ACCOUNT))
            else:
                answer = self._ids.answer(self._read.count(b'"Destination"', end, end + 4 + length))
            del self._read[: end + 4 + length]
            self._transport.write(answer)


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    ids = Ids()
    server = await loop.create_server(lambda: Connection(ids), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
