"""An OpenTelemetry span for each call, if OpenTelemetry is installed and set up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailsluice.model import Answer, Batch, Lane

try:
    from opentelemetry import trace
except ImportError:
    _tracer = None
else:
    _tracer = trace.get_tracer("mailsluice")

Answered = Callable[[Answer], None]


@contextmanager
def call(batch: Batch, lane: Lane) -> Iterator[Answered]:
    """Trace one SendBulkEmail call by AWS SDK conventions; yield a function for the answer."""
    if _tracer is None:
        yield _pass_over
        return
    attributes: dict[str, str | int] = {
        "rpc.system": "aws-api",
        "rpc.service": "SESv2",
        "rpc.method": "SendBulkEmail",
        "mailsluice.batch": batch.number,
        "mailsluice.lane": lane,
        "mailsluice.recipients": len(batch.entries),
    }
    kind = trace.SpanKind.CLIENT
    with _tracer.start_as_current_span("SendBulkEmail", kind=kind, attributes=attributes) as span:
        yield lambda answer: _note(span, answer)


def _pass_over(answer: Answer) -> None:
    """Ignore the answer: no span is recorded."""


def _note(span: trace.Span, answer: Answer) -> None:
    if not span.is_recording():
        return
    if answer.http_status is not None:
        span.set_attribute("http.response.status_code", answer.http_status)
    if answer.code is None:
        taken = sum(1 for result in answer.results if result.message_id)
        span.set_attribute("mailsluice.accepted", taken)
    else:
        span.set_attribute("error.type", answer.code)
        # Without SES's text, which may quote addresses.
        span.set_status(trace.StatusCode.ERROR, answer.code)
