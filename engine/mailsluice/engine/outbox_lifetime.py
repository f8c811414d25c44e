"""The lifetime of an engine's outbox: the first message opens it, the engine's end closes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TypeVar

from anyio import to_thread

from mailsluice.config.settings import DeliverySettings, MessageSettings
from mailsluice.engine import message_keys
from mailsluice.engine.account import AccountGate, AccountHeldError
from mailsluice.engine.outbox import Outbox
from mailsluice.engine.screening import Screening
from mailsluice.engine.sending import OnEvent
from mailsluice.journal import Journal, recovery
from mailsluice.journal.writer import Writer
from mailsluice.mailing.message import Held
from mailsluice.model.codes import CLOSED, CLOSED_TEXT
from mailsluice.ses import Transport

GIVEN_UP_S = 2.0
"""Extra time for calls under way when an engine is closed and its time is up, seconds."""

Result = TypeVar("Result")


class Delivery:
    """The outbox of one engine, from its first message to the engine's end."""

    def __init__(  # noqa: PLR0913  # the composition root hands over each part once
        self,
        *,
        journal: Journal,
        account: AccountGate,
        transport: Transport,
        settings: MessageSettings,
        delivery: DeliverySettings,
        wall: Callable[[], float],
        random: Random,
        on_event: OnEvent | None,
        remembers_keys: bool,
        screening: Screening | None,
        scope: str,
    ) -> None:
        self.outbox: Outbox | None = None
        """The outbox; None before it is open, and after its end."""
        self._journal = journal
        self._account = account
        self._transport = transport
        self._settings = settings
        self._delivery = delivery
        self._wall = wall
        self._random = random
        self._on_event = on_event
        self._remembers_keys = remembers_keys
        self._screening = screening
        self._scope = scope
        self._opened: asyncio.Future[Outbox] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._paused = False

    @property
    def begun(self) -> bool:
        """True if single messages use the journal."""
        return self._opened is not None

    async def open(self) -> Outbox:
        """Return the outbox, which the first message opens. Raises the error if that fails."""
        if self._opened is None:
            self._opened = opened = asyncio.get_running_loop().create_future()
            # Whoever asked may have been cancelled meanwhile.
            opened.add_done_callback(lambda future: future.cancelled() or future.exception())
            self._task = asyncio.create_task(self._run(opened), name="mailsluice outbox")
        return await asyncio.shield(self._opened)

    def pause(self, *, paused: bool) -> None:
        """Pause or resume. While paused, no new call starts."""
        self._paused = paused
        if self.outbox is not None:
            self.outbox.pause(paused=paused)

    def close(self) -> None:
        """Take no more messages."""
        self._closing = True
        if self.outbox is not None:
            self.outbox.close()

    async def drained(self) -> None:
        """Return when all accepted messages have their outcomes."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def end(self) -> None:
        """Abandon the messages that have not been sent, and end."""
        task, self._task = self._task, None
        if task is None:
            return
        if not task.done() and self.outbox is not None:
            await self.outbox.give_up()
            await asyncio.wait([task], timeout=GIVEN_UP_S)
        task.cancel()  # calls without an answer are in doubt
        await asyncio.wait([task])
        self.outbox = self._opened = None

    async def _run(self, opened: asyncio.Future[Outbox]) -> None:
        """Run the outbox; report every failure to the senders."""
        journal = self._journal
        try:
            known = (
                await aside(journal.blocks, message_keys.keys_of, journal.replay(details=True))
                if self._remembers_keys
                else {}
            )
            standing = await aside(journal.blocks, recovery.standing_of, journal)
            run_id = recovery.claim_for_messages(journal, self._wall(), self._random)
            opening = self._account.open(journal.name, standing)
            async with opening as gate, Writer(journal, standing) as writer:
                await writer.write(recovery.abandoned(standing, self._wall()))
                outbox = Outbox(
                    settings=self._settings,
                    delivery=self._delivery,
                    run_id=run_id,
                    known=known,
                    remembers_keys=self._remembers_keys,
                    gate=gate,
                    writer=writer,
                    transport=self._transport,
                    wall=self._wall,
                    random=self._random,
                    on_event=self._on_event,
                    screening=self._screening,
                    scope=self._scope,
                )
                outbox.pause(paused=self._paused)
                self.outbox = outbox
                if self._closing:
                    outbox.close()  # it was left while this was being opened
                opened.set_result(outbox)
                await outbox.run()
        except AccountHeldError as error:
            opened.set_exception(Held(error.hold.code, error.hold.text))
        except Exception as error:  # noqa: BLE001  # the senders raise it
            if not opened.done():
                opened.set_exception(error)
        finally:
            if not opened.done():
                opened.set_exception(Held(CLOSED, CLOSED_TEXT))
            if self.outbox is None:
                self._opened = None  # the next message tries again


async def aside(blocks: bool, function: Callable[..., Result], *args: object) -> Result:  # noqa: FBT001
    """Call a function, in a worker thread if it blocks: a virtual clock cannot wait for threads."""
    return await to_thread.run_sync(function, *args) if blocks else function(*args)
