"""One span of OpenTelemetry for each call, without addresses; nothing where it is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mailsluice import Engine, Mailing, Settings
from mailsluice.emulator import AccountSettings, CallFault, Emulator
from mailsluice.engine import tracing


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("mailsluice"))
    return exporter


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=5_000, daily_max=-1))
async def test_each_call_is_a_span(
    ses_emulator: Emulator, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ses_emulator.environment.items():
        monkeypatch.setenv(name, value)
    ses_emulator.faults.add(CallFault(fault="error", code="TooManyRequestsException", nth=(1,)))
    mailing = Mailing(from_address="news@example.com", template="welcome")
    async with Engine.open(Settings()) as engine:
        await engine.run(mailing, [f"user{n}@example.com" for n in range(120)])
    found = spans.get_finished_spans()
    assert len(found) == ses_emulator.statistics().account.calls
    assert {span.name for span in found} == {"SendBulkEmail"}
    assert {span.kind for span in found} == {trace.SpanKind.CLIENT}
    noted = [dict(span.attributes or {}) for span in found]
    (refused,) = [each for each in noted if "error.type" in each]
    assert refused["error.type"] == "TooManyRequestsException"
    assert refused["http.response.status_code"] == 429
    assert sum(int(str(each.get("mailsluice.accepted", 0))) for each in noted) == 120
    assert "example.com" not in "".join(span.to_json() for span in found)


@pytest.mark.process
def test_nothing_needs_it() -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from mailsluice.engine import tracing\n"
        "from mailsluice.model import Answer, Batch\n"
        "with tracing.call(Batch(1, ()), 'bulk') as answered: answered(Answer())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr
