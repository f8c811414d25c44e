"""Compare two ledgers: what the journal says was sent, and what SES accepted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mailsluice.model import State
from mailsluice.model.codes import RESOLVED
from mailsluice.reports.export import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Where the two ledgers agree and where not. The tuples hold rows (`seq`)."""

    sent: int
    """Recipients that the journal calls sent, without those that an operator resolved as sent."""
    accepted: int
    """Messages that SES accepted, each counted."""
    delivered_in_doubt: int
    """Recipients in doubt that SES did accept."""
    lost: tuple[int, ...]
    """Sent by the journal, but SES has no message of that MessageId for them."""
    unexplained: tuple[int, ...]
    """Accepted by SES, but neither sent nor in doubt by the journal."""
    duplicated: tuple[int, ...]
    """Accepted by SES more than once."""

    @property
    def agree(self) -> bool:
        """True if nothing was lost, unexplained or duplicated."""
        return not (self.lost or self.unexplained or self.duplicated)


def compare(lines: Iterable[Line], accepted: Iterable[tuple[str, str]]) -> Audit:
    """Compare `export.lines` of one run with what SES accepted of it.

    `accepted` are pairs of a `mailsluice-id` tag and a MessageId. Holds all of them in memory.
    """
    messages: dict[int, list[str]] = defaultdict(list)
    for tag, message_id in accepted:
        messages[int(tag.rpartition("-")[2])].append(message_id)
    sent = delivered_in_doubt = 0
    lost, explained = [], set()
    for line in lines:
        ids = messages.get(line.seq, [])
        if line.status == RESOLVED:
            explained.add(line.seq)  # an operator answers for it
        elif line.state == State.SENT.value:
            sent += 1
            explained.add(line.seq)
            if line.message_id not in ids:
                lost.append(line.seq)
        elif line.state == State.IN_DOUBT.value:
            delivered_in_doubt += bool(ids)
            explained.add(line.seq)
    return Audit(
        sent=sent,
        accepted=sum(map(len, messages.values())),
        delivered_in_doubt=delivered_in_doubt,
        lost=tuple(sorted(lost)),
        unexplained=tuple(sorted(messages.keys() - explained)),
        duplicated=tuple(sorted(seq for seq, ids in messages.items() if len(ids) > 1)),
    )
