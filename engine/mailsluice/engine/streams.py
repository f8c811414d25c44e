"""The stream of SES's events that the settings name."""

from __future__ import annotations

from mailsluice.config.settings import FeedbackSettings, SesSettings
from mailsluice.feedback.files import FileStream
from mailsluice.feedback.listener import Stream
from mailsluice.feedback.queue import WAIT_S, QueueStream


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
