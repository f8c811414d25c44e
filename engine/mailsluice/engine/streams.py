"""The stream of SES's events that the settings name, and what is done about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from mailsluice.config.settings import FeedbackSettings, SesSettings, SuppressionSettings
from mailsluice.feedback.files import FileStream
from mailsluice.feedback.ingest import Act
from mailsluice.feedback.listener import Stream
from mailsluice.feedback.queue import WAIT_S, QueueStream
from mailsluice.feedback.suppressing import Suppressing
from mailsluice.suppression.store import Suppressions


def stream_of(
    feedback: FeedbackSettings, ses: SesSettings, *, wait_s: int = WAIT_S
) -> Stream | None:
    """Return the queue or the files; None if another process fills the store.

    `wait_s` is how long a receive waits for a message.
    """
    if feedback.queue is not None:
        return QueueStream(feedback.queue, region=ses.region, profile=ses.profile, wait_s=wait_s)
    if feedback.files is not None:
        return FileStream(feedback.files, region=ses.region, profile=ses.profile)
    return None


@contextmanager
def acts_of(suppression: SuppressionSettings | None) -> Iterator[Sequence[Act]]:
    """Open what acts on events before they are deleted. Raises StoreError."""
    if suppression is None:
        yield ()
        return
    with closing(Suppressions.open(suppression.path, suppression.keep)) as store:
        yield (Suppressing(store, suppression.soft_after),)
