"""Keys of single messages that a journal lists as sent or in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from mailsluice.journal import DOUBTED_CODE, STATES_BY_CODE, Intent, Record, Resolution, Settlement
from mailsluice.journal.walk import Answered, Step, Unanswered, paired
from mailsluice.mailing.message import InDoubt, Receipt
from mailsluice.model import InDoubt as Doubts
from mailsluice.model import State
from mailsluice.model.codes import NO_ANSWER


def keys_of(records: Iterable[Record], in_doubt: Doubts = "hold") -> dict[str, Receipt | InDoubt]:
    """Return the keys in a journal of single messages that were sent, or may have been.

    With "resend", a doubt does not count as sent, unless an operator has said so. Blocks for a
    second or two per million messages.
    """
    collector = _Keys(in_doubt)
    for step in paired(records):
        collector.take(step)
    return collector.found


class _Keys:
    """The state of each key after some of the records."""

    def __init__(self, in_doubt: Doubts) -> None:
        self._in_doubt = in_doubt
        self.found: dict[str, Receipt | InDoubt] = {}
        self._attempts: Counter[int] = Counter()
        self._doubted: dict[int, str] = {}
        """Keys of rows that may have been sent."""

    def take(self, step: Step) -> None:
        """Take one more step of the walk into account."""
        match step:
            case Answered(intent, settlement):
                self._settle(intent, settlement)
            case Unanswered(intent) if self._in_doubt == "hold":
                unknown = InDoubt(NO_ANSWER, "the process ended before the answer was recorded")
                self.found.update({key: unknown for key in intent.addresses.key if key})
            case Resolution() as record:
                for seq in record.seqs:
                    if seq in self._doubted and record.state in {State.SENT, State.FAILED}:
                        # An operator has decided: it was sent, or never will be.
                        self.found[self._doubted[seq]] = InDoubt(record.status, record.reason)
            case _:
                pass

    def _settle(self, intent: Intent, record: Settlement) -> None:
        self._attempts.update(intent.seqs)
        for place, key in enumerate(intent.addresses.key):
            if key is None:
                continue
            seq, code = intent.seqs[place], record.states[place]
            if STATES_BY_CODE[code] is State.SENT:
                at = datetime.fromtimestamp(record.at, UTC)
                self.found[key] = Receipt(
                    message_id=record.message_ids[place] or "",
                    attempts=self._attempts[seq],
                    queued_at=at,
                    settled_at=at,
                )
            elif code == DOUBTED_CODE or STATES_BY_CODE[code] is State.IN_DOUBT:
                self._doubted[seq] = key
                if self._in_doubt == "hold":
                    self.found[key] = InDoubt(record.statuses[place], record.errors[place])
