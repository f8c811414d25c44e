"""A service that sends each of its messages under a key: `messages_child.py JOURNAL COUNT`."""

from __future__ import annotations

import asyncio
import sys

from mailsluice import Engine, InDoubt, Mailing, Message, Settings

WELCOME = Mailing(from_address="news@example.com", template="welcome")


async def main(journal: str, count: int) -> None:
    """Send what has not been sent before; print a line when everything is."""
    async with Engine.open(Settings(), journal=journal) as engine:

        async def one(n: int) -> None:
            try:
                await engine.send(Message(WELCOME, to=f"user{n}@example.com", key=f"k{n}"))
            except InDoubt:
                print(f"in doubt {n}", flush=True)

        await asyncio.gather(*map(one, range(count)))
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
