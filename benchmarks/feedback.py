"""What events cost: CPU per event from body to disk, bytes per recipient, and the brake's CPU.

    python -m benchmarks.feedback [RECIPIENTS]     default: 500000

Each recipient has a Send and a Delivery, in SNS envelopes, as they come from SQS: the delivery
some seconds after the send (log-normal), so that rows come out of order. Batches of 1,000.
"""

from __future__ import annotations

import gc
import heapq
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from mailsluice.cli.runtime import GC_THRESHOLDS_LASTING
from mailsluice.feedback import fate, records
from mailsluice.feedback.brake import Brake
from mailsluice.feedback.ramp import Limits
from mailsluice.feedback.store import FeedbackStore

BATCH = 1_000
RATE_PER_S = 500.0
CPU_US_MAX = 15.0
BYTES_MAX = 64.0
SENDS, BOUNCES, MEASURED_S = 1_000_000, 0.03, 300
LOOKS_SHARE_MAX = 0.01
BEGUN_AT = 1_795_600_000.0

_TEMPLATE = (
    '{"Type":"Notification","MessageId":"5a1b2c3d-0000-5000-8000-000000000000","TopicArn":"arn:aws:'
    'sns:eu-west-1:123456789012:ses-events","Subject":"Amazon SES Email Event Notification",'
    '"Message":"{\\"eventType\\":\\"%(kind)s\\",\\"mail\\":{\\"timestamp\\":\\"%(sent)s\\",'
    '\\"source\\":\\"news@example.org\\",\\"sendingAccountId\\":\\"123456789012\\",'
    '\\"messageId\\":\\"%(id)s\\",\\"destination\\":[\\"user%(row)d@example.com\\"],'
    '\\"headersTruncated\\":false,\\"tags\\":{\\"ses:operation\\":[\\"SendBulkEmail\\"],'
    '\\"ses:configuration-set\\":[\\"events\\"],\\"ses:source-ip\\":[\\"192.0.2.7\\"],'
    '\\"ses:from-domain\\":[\\"example.org\\"],\\"ses:caller-identity\\":[\\"sender\\"],'
    '\\"mailsluice-id\\":[\\"abcdefghijklmnop-%(row)d\\"]}},\\"%(section)s\\":{%(told)s}}\\n",'
    '"Timestamp":"2026-11-26T09:00:07.500Z","SignatureVersion":"1","Signature":"%(signature)s",'
    '"SigningCertURL":"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",'
    '"UnsubscribeURL":"https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe"}'
)
_DELIVERED = (
    '\\"timestamp\\":\\"%s\\",\\"processingTimeMillis\\":2000,\\"recipients\\":'
    '[\\"user%d@example.com\\"],\\"smtpResponse\\":\\"250 2.6.0 ok\\",\\"reportingMTA\\":'
    '\\"a1-2.smtp-out.eu-west-1.amazonses.com\\"'
)


def bodies(recipients: int) -> Iterator[bytes]:
    """Envelopes in the order in which they become available."""
    random = Random(7)
    waiting: list[tuple[float, int, str]] = []
    for row in range(1, recipients + 1):
        sent_at = BEGUN_AT + row / RATE_PER_S
        while waiting and waiting[0][0] <= sent_at:
            at, before, id_ = heapq.heappop(waiting)
            yield _body("Delivery", before, id_, at)
        id_ = _message_id(random)
        yield _body("Send", row, id_, sent_at)
        heapq.heappush(waiting, (sent_at + random.lognormvariate(1.6, 1.0), row, id_))
    while waiting:
        at, row, id_ = heapq.heappop(waiting)
        yield _body("Delivery", row, id_, at)


def _message_id(random: Random) -> str:
    digits = f"{random.getrandbits(192):048x}"
    return (
        f"{digits[:16]}-{digits[16:24]}-{digits[24:28]}-{digits[28:32]}-{digits[32:36]}-"
        f"{digits[36:48]}-000000"
    )


def _body(kind: str, row: int, id_: str, at: float) -> bytes:
    sent = _text(BEGUN_AT + row / RATE_PER_S)
    told = _DELIVERED % (_text(at), row) if kind == "Delivery" else ""
    fields = {"kind": kind, "sent": sent, "id": id_, "row": row, "section": kind.lower()}
    return (_TEMPLATE % {**fields, "told": told, "signature": "s" * 344}).encode()


def _text(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + ".250Z"


def looks() -> float:
    """CPU of the brake's looks per second of a mailing at 500/s, at its worst: at its end.

    3 % of a million bounce, and each second some of them are heard of.
    """
    random, brake, row = Random(8), Brake(Limits()), 0
    spent = 0.0
    waiting: list[tuple[float, int]] = []
    for second in range(SENDS // int(RATE_PER_S)):
        now = float(second)
        for _ in range(int(RATE_PER_S) // 50):
            brake.send(range(row + 1, row + 51), now)
            row += 50
        for bounced in range(row - int(RATE_PER_S) + 1, row + 1):
            if random.random() < BOUNCES:
                heapq.heappush(waiting, (now + random.lognormvariate(1.6, 1.5), bounced))
        while waiting and waiting[0][0] <= now:
            brake.hear(heapq.heappop(waiting)[1], fate.HARD, fate.HARD)
        begun = time.process_time()
        assert brake.stop(now) is None
        if second >= SENDS // int(RATE_PER_S) - MEASURED_S:
            spent += time.process_time() - begun
    return spent / MEASURED_S


def main(recipients: int) -> int:
    """Print the figures; 1 if one misses its goal."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS_LASTING)  # as the worker does
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    parsing = storing = 0.0
    events = size = 0
    with tempfile.TemporaryDirectory(prefix="mailsluice-feedback-") as name:
        path = Path(name) / "feedback.db"
        store = FeedbackStore.open(path)
        begun = time.perf_counter()
        batch: list[bytes] = []
        for body in bodies(recipients):
            batch.append(body)
            events += 1
            size += len(body)
            if len(batch) == BATCH or events == 2 * recipients:
                before = time.process_time()
                parsed = [each for one in batch for each in records.parse(one)]
                between = time.process_time()
                store.record(parsed, BEGUN_AT + events / RATE_PER_S / 2)
                parsing += between - before
                storing += time.process_time() - between
                batch.clear()
        wall_s = time.perf_counter() - begun
        assert sum(store.tally("abcdefghijklmnop").values()) == recipients
        store.close()  # the log goes into the file
        bytes_each = path.stat().st_size / recipients
    cpu = (parsing + storing) / events * 1e6
    print(f"{events:,} events of {size / events:,.0f} bytes, batches of {BATCH:,}")
    print(f"CPU per event          {cpu:5.1f} µs   goal ≤ {CPU_US_MAX:.0f}")
    print(f"  parsing              {parsing / events * 1e6:5.1f} µs")
    print(f"  storing, FULL        {storing / events * 1e6:5.1f} µs")
    print(f"bytes per recipient    {bytes_each:5.1f}      goal ≤ {BYTES_MAX:.0f}")
    print(f"wall, bodies made too  {wall_s / events * 1e6:5.1f} µs")
    share = looks()
    print(f"brake, of a core       {share:6.2%}    goal ≤ {LOOKS_SHARE_MAX:.0%}")
    return 0 if cpu <= CPU_US_MAX and bytes_each <= BYTES_MAX and share <= LOOKS_SHARE_MAX else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000))
