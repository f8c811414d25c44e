"""An SES that accepts everything and looks at nothing, so that it costs next to nothing.

python benchmarks/null_server.py        prints its port; ends with its standard input
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import orjson
import uvloop

ENTRIES = 50
RESULT = {
    "Status": "SUCCESS",
    "MessageId": "010001a20f672af8-17e4feab-dc08-e4f3-1182-000000000000-000000",
}
ACCOUNT = {
    "SendQuota": {"MaxSendRate": 1e9, "Max24HourSend": -1, "SentLast24Hours": 0},
    "SendingEnabled": True,
    "EnforcementStatus": "HEALTHY",
    "ProductionAccessEnabled": True,
}


def _answer(document: object) -> bytes:
    body = orjson.dumps(document)
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


SENT = [_answer({"BulkEmailEntryResults": [RESULT] * n}) for n in range(ENTRIES + 1)]
ASKED = _answer(ACCOUNT)


class Connection(asyncio.Protocol):
    """Reads by length and counts entries by their destinations; answers what was written before."""

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
            if head.startswith(b"get"):
                answer = ASKED
            else:
                answer = SENT[self._read.count(b'"Destination"', end, end + 4 + length)]
            del self._read[: end + 4 + length]
            self._transport.write(answer)


async def main() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
