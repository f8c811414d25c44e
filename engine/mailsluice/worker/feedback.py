"""SES's events, which the worker takes in beside everything else."""

from __future__ import annotations

from collections.abc import Sequence

from mailsluice.config.settings import FeedbackSettings, SesSettings
from mailsluice.engine.streams import stream_of
from mailsluice.feedback.ingest import Act, Ingest
from mailsluice.feedback.listener import Listener
from mailsluice.feedback.store import FeedbackStore


class Feedback:
    """The store, and the listener that fills it. Nothing that goes wrong there ends the worker.

    `acts` are called with events after they are stored and before they are deleted.
    """

    def __init__(
        self,
        store: FeedbackStore,
        feedback: FeedbackSettings,
        ses: SesSettings,
        acts: Sequence[Act] = (),
    ) -> None:
        self.store = store
        self.ingest = Ingest(store, acts=acts)
        stream = stream_of(feedback, ses)
        self.listener = Listener(stream, self.ingest) if stream is not None else None
        """None if another process fills the store."""

    async def run(self) -> None:
        """Take events in until stopped."""
        if self.listener is not None:
            await self.listener.run()

    def stop(self) -> None:
        """Take in nothing more."""
        if self.listener is not None:
            self.listener.stop()

    @property
    def trouble(self) -> str | None:
        """Why no event can be taken in at present; None if events can."""
        return self.listener.trouble if self.listener is not None else None
