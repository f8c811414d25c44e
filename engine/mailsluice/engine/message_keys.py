"""The keys of single messages that a journal lists as sent, or as in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from mailsluice.journal import DOUBTED_CODE, STATES_BY_CODE, Intent, Record, Resolution, Settlement
from mailsluice.mailing.message import InDoubt, Receipt
from mailsluice.model import InDoubt as Doubts
from mailsluice.model import State
from mailsluice.model.codes import NO_ANSWER


def keys_of(records: Iterable[Record], in_doubt: Doubts = "hold") -> dict[str, Receipt | InDoubt]:
    """What became of each key in a journal of single messages: sent, or perhaps sent.

    With "resend", perhaps sent is not sent, unless an operator has said so. Blocks for a second or
    two per million messages.
    """
    collector = _Keys(in_doubt)
    for record in records:
        collector.take(record)
    return collector.end()


class _Keys:
    """What is known of each key after some of the records."""

    def __init__(self, in_doubt: Doubts) -> None:
        self._in_doubt = in_doubt
        self._found: dict[str, Receipt | InDoubt] = {}
        self._open: dict[int, Intent] = {}
        self._attempts: Counter[int] = Counter()
        self._doubted: dict[int, str] = {}
        """Keys of rows that may have been sent."""

    def take(self, record: Record) -> None:
        """One more record."""
        match record:
            case Intent():
                self._open[record.batch] = record
            case Settlement():
                self._settle(self._open.pop(record.batch), record)
            case Resolution():
                for seq in record.seqs:
                    if seq in self._doubted and record.state in {State.SENT, State.FAILED}:
                        # An operator has decided: it was sent, or is never to be.
                        self._found[self._doubted[seq]] = InDoubt(record.status, record.reason)
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
                self._found[key] = Receipt(
                    message_id=record.message_ids[place] or "",
                    attempts=self._attempts[seq],
                    queued_at=at,
                    settled_at=at,
                )
            elif code == DOUBTED_CODE or STATES_BY_CODE[code] is State.IN_DOUBT:
                self._doubted[seq] = key
                if self._in_doubt == "hold":
                    self._found[key] = InDoubt(record.statuses[place], record.errors[place])

    def end(self) -> dict[str, Receipt | InDoubt]:
        """What is known in the end; calls without an answer are in doubt."""
        for intent in self._open.values() if self._in_doubt == "hold" else ():
            unknown = InDoubt(NO_ANSWER, "the process ended before the answer was recorded")
            self._found.update({key: unknown for key in intent.addresses.key if key})
        return self._found
