"""Proof 8: deliberate bugs, planted one at a time; each must be noticed.

`was` must stand exactly once in the file, so that a bug that can no longer be planted is noticed as
well. `killers` are pytest's arguments: the tests that must fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.prove.figures import Proved, Size, exactly

ENGINE = Path("engine")
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """One deliberate bug."""

    name: str
    file: str
    """Below `engine/mailsluice`."""
    was: str
    becomes: str
    killers: tuple[str, ...]
    more: tuple[tuple[str, str], ...] = ()
    """Where one place is not enough: other texts of the same file, and what they become."""


SIM = ("tests/sim/test_simulation.py", "-k", "accounted_for")
ANSWERS = "tests/engine/test_ses_answers.py"
SIGNALS = "tests/cli/test_signals.py"
SQLITE = "tests/journal/test_sqlite.py"
SHORT = "a settled row may be sent again"
"""The mutant of the short version."""

STANDING = "tests/journal/test_standing.py"
MACHINE = "tests/journal/test_machine.py"
LOG = "tests/journal/test_log.py"
STALLS = ("tests/sim/test_stalls.py",)
DISPATCHER = "tests/dispatch/test_dispatcher.py"
PROOFS = "tests/prove/test_proofs.py"
QUEUE = "tests/worker/test_queue_delivery.py"
HTTP = "tests/ses/test_http.py"
LOCK = "tests/journal/test_lock.py"
WORKER_HTTP = "tests/worker/test_http_interface.py"
READING = ("tests/sources/test_reading.py",)
FOLDER_OF_MAILING = ("tests/worker/test_own_folder.py",)
EXCEPT = "tests/cli/test_except.py"
ENDS = "tests/worker/test_put_away.py"
NEXT_MAILING = "tests/cli/test_next_mailing.py"
WHOSE_ROW = "tests/engine/test_whose_row.py"
CHANGED_LISTS = "tests/cli/test_changed_lists.py"
BRAKE = "tests/feedback/test_brake.py"
BRAKING = "tests/engine/test_braking.py"
EVIDENCE = "tests/feedback/test_evidence.py"
FATE = "tests/feedback/test_fate.py"
FEEDBACK_STORE = "tests/feedback/test_feedback_store.py"
SUPPRESSIONS = "tests/suppression/test_suppression_store.py"
SUPPRESSING = ("tests/sim/test_late_suppressions.py",)
RECORDS = "tests/feedback/test_records.py"
RENDERING = ("tests/mailing/rendering",)
CHECK = ("tests/cli/test_check_command.py",)
CHECKED_MAILINGS = ("tests/worker/test_checked_mailings.py",)

MUTANTS = [
    # --- anchors: the list of P10 ----------------------------------------------------------------
    Mutant(
        "no intent before the call",
        "engine/sending.py",
        "        await self._writer.write([journal.intent(batch, at)])\n",
        "        pass\n",
        SIM,
    ),
    Mutant(
        "the intent is not waited for",
        "engine/sending.py",
        "        await self._writer.write([journal.intent(batch, at)])\n",
        "        import asyncio\n"
        "        asyncio.ensure_future(\n"
        "            self._writer.write([journal.intent(batch, self._wall())]))\n",
        SIM,
    ),
    Mutant(
        "settled before the answer",
        "engine/sending.py",
        "            answer = await self._call_unless_taken_back(batch)\n",
        "            results = tuple(statuses.EntryResult('SUCCESS', 'id') for _ in batch.entries)\n"
        "            await self._settle(batch, Answer(results=results), started_at)\n"
        "            await self._call(batch)\n"
        "            return\n",
        SIM,
    ),
    Mutant(
        "counted before it is durable",
        "journal/writer.py",
        "        trip, self._next = self._next, _Trip()\n",
        "        trip, self._next = self._next, _Trip()\n"
        "        self.standing.apply_all(trip.records)\n",
        ("tests/journal/test_writer.py",),
    ),
    Mutant(
        "any settlement may follow: no compare-and-set",
        "journal/standing.py",
        '                _require(seqs is not None, f"batch {record.batch} is settled but not open")\n',
        "                seqs = seqs or [0] * len(record.states)\n",
        (STANDING,),
    ),
    Mutant(
        "a settled row may be sent again",
        "journal/standing.py",
        "        if self.settled.has_any(record.seqs) or self._underway.has_any(record.seqs):\n",
        "        if self._underway.has_any(record.seqs):\n",
        (STANDING,),
    ),
    Mutant(
        "a row under way may be sent again",
        "journal/standing.py",
        "        if self.settled.has_any(record.seqs) or self._underway.has_any(record.seqs):\n",
        "        if self.settled.has_any(record.seqs):\n",
        (STANDING,),
    ),
    Mutant(
        "doubts are sent again in hold",
        "dispatch/attempts.py",
        '                resend = self._in_doubt == "resend" and not self._spent(seq, rule)\n',
        "                resend = not self._spent(seq, rule)\n",
        SIM,
    ),
    Mutant(
        "checkpoint at fetch: what was read is taken for sent",
        "journal/standing.py",
        "        self.settled.add(remarked)\n",
        "        self.settled.add(range(record.first, record.last + 1))\n",
        SIM,
    ),
    Mutant(
        "the last flush is dropped at the end",
        "journal/writer.py",
        "            while not self._idle.is_set():\n",
        "            while False:\n",
        ("tests/journal/test_writer.py",),
    ),
    Mutant(
        "a transport that raises ends the stream",
        "engine/sending.py",
        '            logger.exception("the transport has failed")\n',
        "            raise\n",
        ("tests/engine/test_callers_parts.py",),
    ),
    Mutant(
        "a cancelled leaving waits for no commit",
        "journal/writer.py",
        "                    cancelled = again\n",
        "                    raise\n",
        ("tests/journal/test_writer.py",),
    ),
    Mutant(
        "the SDK retries by itself",
        "ses/client.py",
        '            retries={"total_max_attempts": 1, "mode": "standard"},\n',
        '            retries={"total_max_attempts": 5, "mode": "standard"},\n',
        ("tests/ses/test_client.py", "-k", "made_once"),
        (
            (
                '        if retries.get("total_max_attempts") != 1:\n',
                '        if retries.get("total_max_attempts") == 0:\n',
            ),
        ),
    ),
    Mutant(
        "an SDK that would retry is not noticed at the start",
        "ses/client.py",
        '        if retries.get("total_max_attempts") != 1:\n',
        '        if retries.get("total_max_attempts") == 0:\n',
        ("tests/ses/test_client.py",),
    ),
    Mutant(
        "results are matched by something else than position",
        "ses/statuses.py",
        "        for status, message_id, error in answer.results\n",
        "        for status, message_id, error in reversed(answer.results)\n",
        (ANSWERS, "-k", "rejected_alone"),
    ),
    Mutant(
        "another number of results is cut to fit",
        "ses/statuses.py",
        "    if len(answer.results) != entries:\n",
        "    if len(answer.results) > entries:\n",
        (ANSWERS, "-k", "in_doubt_and_nothing"),
    ),
    Mutant(
        "halves go without a permit",
        "dispatch/dispatcher.py",
        "        self.calls.start(batch, now)\n",
        "        self.calls.start(batch, now)\n"
        "        if self._bisection.open:\n"
        "            self.pacer.spend(-batch.weight, now)\n"
        "            self.pacer.leave = lambda batch, weight, now: now\n",
        SIM,
    ),
    Mutant(
        "ROLLBACK after a failed COMMIT",
        "journal/sqlite.py",
        "            if self._connection.in_transaction:\n"
        "                with contextlib.suppress(sqlite3.Error):\n"
        '                    self._connection.execute("ROLLBACK")\n',
        '            self._connection.execute("ROLLBACK")\n',
        (PROOFS, "-k", "storage"),
    ),
    Mutant(
        "what was in flight at a crash is pending again",
        "journal/recovery.py",
        '    code = DOUBTED_CODE if in_doubt == "resend" else STATE_CODES[State.IN_DOUBT]\n',
        '    code = DOUBTED_CODE if in_doubt == "resend" else STATE_CODES[State.PENDING]\n',
        SIM,
    ),
    Mutant(
        "finished when the source has been read",
        "dispatch/dispatcher.py",
        "        return self.backlog.source_has_ended and self.idle and not self._bisection.open\n",
        "        return self.backlog.source_has_ended\n",
        (SIGNALS, "-k", "daily_quota"),
    ),
    Mutant(
        "a limiter that asks again and again",
        "dispatch/backlog.py",
        "CLOCK_GRAIN_S = 1e-6\n",
        "CLOCK_GRAIN_S = -1e-12\n",
        (*SIM, "--timeout=20"),
    ),
    Mutant(
        "an unbounded queue",
        "dispatch/backlog.py",
        "        return len(self._fresh) < FRESH_RECIPIENTS_MAX and self._held_bytes < HELD_BYTES_MAX\n",
        "        return True\n",
        (DISPATCHER,),
    ),
    Mutant(
        "synchronous=NORMAL",
        "journal/sqlite.py",
        '        execute("PRAGMA synchronous = FULL")\n',
        '        execute("PRAGMA synchronous = NORMAL")\n',
        (PROOFS, "-k", "powercut"),
    ),
    # --- what SES answers ------------------------------------------------------------------------
    Mutant(
        "what never left is in doubt",
        "ses/exchange.py",
        "        code = NO_ANSWER if passage.left else NOT_SENT\n",
        "        code = NO_ANSWER\n",
        ("tests/ses/test_direct.py", "-k", "signed_as_the_sdk_does"),
    ),
    Mutant(
        "the error page of a proxy is taken for SES's refusal",
        "ses/answers.py",
        "        return Answer(code=NOT_SES, http_status=response.status, error=told(text, secrets))\n",
        '        return Answer(code="Unknown", http_status=response.status, error=text)\n',
        ("tests/ses/test_answers.py", "-k", "somebody_else"),
    ),
    Mutant(
        "an error text of any type is believed",
        "ses/answers.py",
        "    if error is not None and type(error) is not str:\n",
        "    if error is not None and type(error) is float:\n",
        ("tests/ses/test_answers.py", "-k", "one_wrong_field"),
    ),
    Mutant(
        "what STS raises is taken for SES's answer",
        "ses/aws/credentials.py",
        "                raise failure from error\n",
        "                raise\n",
        ("tests/ses/test_credentials.py", "-k", "no_answer_of_the_service"),
    ),
    Mutant(
        "a deadline cuts off what has arrived",
        "ses/aws/deadline.py",
        "TURNS = 50\n",
        "TURNS = 0\n",
        ("tests/ses/test_deadline.py",),
    ),
    Mutant(
        "a stop waits for credentials",
        "engine/sending.py",
        "                    if reason is Reason.STOPPING:\n",
        "                    if reason is None:\n",
        ("tests/engine/test_taken_back.py",),
    ),
    Mutant(
        "what left without an answer is not sent",
        "ses/exchange.py",
        "        code = NO_ANSWER if passage.left else NOT_SENT\n",
        "        code = NOT_SENT\n",
        ("tests/ses/test_client.py", "-k", "made_once"),
    ),
    Mutant(
        "a 5xx is taken for not sent",
        "ses/statuses.py",
        '    "InternalFailure": _DOUBT,\n',
        '    "InternalFailure": _RECONNECT,\n',
        (ANSWERS, "-k", "in_doubt_and_nothing"),
    ),
    Mutant(
        "a success without a MessageId is a success",
        "ses/statuses.py",
        "    if rule is _SENT and not message_id:\n",
        "    if rule is _SENT and message_id is False:\n",
        ("tests/ses/test_statuses.py",),
    ),
    Mutant(
        "an unknown status is a success",
        "ses/statuses.py",
        "        rule = Rule(Action.SENT if message_id else Action.FAIL, warn=True)\n",
        "        rule = Rule(Action.SENT, warn=True)\n",
        (ANSWERS, "-k", "unknown_status"),
    ),
    Mutant(
        "throttles burn attempts",
        "dispatch/attempts.py",
        "            case _:\n                return Outcome(State.PENDING, status, None, error)\n",
        "            case _:\n                return Outcome(State.PENDING, status, None, error, burned=True)\n",
        (DISPATCHER,),
    ),
    Mutant(
        "a connection that SES has closed is used",
        "ses/aws/connection.py",
        "    return bool(poll.poll(0))\n",
        "    return False\n",
        (PROOFS, "-k", "wire"),
    ),
    Mutant(
        "a host name is not checked",
        "ses/aws/http.py",
        "    context.check_hostname = True\n",
        "    context.check_hostname = False\n",
        (HTTP, "-k", "no_valid_certificate"),
    ),
    Mutant(
        "no certificate is checked through a proxy",
        "ses/aws/http.py",
        "ssl=self._tls, **",
        "ssl=proxy_url is None and self._tls, **",
        (HTTP, "-k", "through_a_proxy_nothing"),
    ),
    Mutant(
        "a redirect is followed",
        "ses/aws/http.py",
        "allow_redirects=False",
        "allow_redirects=True",
        (HTTP, "-k", "no_redirect"),
    ),
    Mutant(
        "credentials are obtained by the SDK's own HTTP",
        "ses/aws/__init__.py",
        "        config.http_session_cls =",
        '        if service_name != "sts":\n            config.http_session_cls =',
        (HTTP, "-k", "no_redirect and web_identity"),
    ),
    Mutant(
        "an answer may be 64 MiB long",
        "ses/aws/http.py",
        "ANSWER_BYTES_MAX = 1024 * 1024\n",
        "ANSWER_BYTES_MAX = 64 * 1024 * 1024\n",
        (HTTP, "-k", "is_a_doubt_with_its_reason"),
    ),
    Mutant(
        "an answer may take for ever",
        "ses/aws/http.py",
        "if total else None",
        "if total is None else None",
        (HTTP, "-k", "trickled and queue"),
    ),
    Mutant(
        "a cancelled call is taken for not sent",
        "engine/sending.py",
        "CUT_SHORT if has_left else NEVER_LEFT",
        "NEVER_LEFT",
        (*SIM,),
    ),
    Mutant(
        "what was doubtful before is called rejected",
        "dispatch/attempts.py",
        "        return State.IN_DOUBT if seq in self._doubted else state\n",
        "        return state\n",
        SIM,
    ),
    Mutant(
        "a run under hold sends again what one under resend had in doubt",
        "journal/recovery.py",
        '    if in_doubt == "hold" and held:\n',
        '    if in_doubt == "never" and held:\n',
        SIM,
    ),
    Mutant(
        "a storm is not narrowed",
        "dispatch/dispatcher.py",
        "        if self._breaker.is_open and self.calls.under_way:\n",
        "        if self._stopping:\n",
        (DISPATCHER,),
    ),
    Mutant(
        "a hold does not hold",
        "dispatch/dispatcher.py",
        "        if self._hold is not None or self._stopping:\n            return self._drained",
        "        if self._stopping:\n            return self._drained",
        (DISPATCHER,),
    ),
    Mutant(
        "a new process begins with a full bucket",
        "engine/account.py",
        "resumed=resumed or self._reopened or standing.calls > 0\n",
        "resumed=self._reopened\n",
        ("tests/engine/test_account.py", "-k", "full_bucket"),
    ),
    Mutant(
        "a second run begins with a full bucket",
        "engine/account.py",
        "                self._reopened = True\n",
        "",
        ("tests/engine/test_rate_on_the_wire.py", "-k", "second_run"),
    ),
    Mutant(
        "a restart forgets the attempts that were burned",
        "engine/engine.py",
        "            burned=standing.burned,\n",
        "            burned={},\n",
        ("tests/engine/test_engine.py", "-k", "attempts"),
    ),
    Mutant(
        "a restart forgets what was doubtful",
        "engine/engine.py",
        "            doubted=standing.doubted,\n",
        "            doubted=(),\n",
        SIM,
    ),
    Mutant(
        "recovery stops at the first call that was open",
        "journal/recovery.py",
        "        for number, seqs in standing.open.items()\n    ]\n",
        "        for number, seqs in list(standing.open.items())[:1]\n    ]\n",
        SIM,
    ),
    # --- the journal -----------------------------------------------------------------------------
    Mutant(
        "the last record of a commit is lost",
        "journal/sqlite.py",
        "            self._connection.executemany(schema.INSERT, rows)\n",
        "            self._connection.executemany(schema.INSERT, rows[:-1])\n",
        (MACHINE,),
    ),
    Mutant(
        "records come back in another order",
        "journal/schema.py",
        "FROM record ORDER BY id\n",
        "FROM record ORDER BY kind, id\n",
        (MACHINE,),
    ),
    Mutant(
        "a commit in memory is forgotten",
        "journal/memory.py",
        "        self._records.extend(records)\n",
        "        self._records.extend(records[:1])\n",
        (MACHINE,),
    ),
    Mutant(
        "seals are not looked at",
        "journal/sqlite.py",
        "                if not (whole and id_ == last_id and record_seal == last_seal):\n",
        "                if id_ != last_id:\n",
        (SQLITE,),
    ),
    Mutant(
        "lost rows are not looked for",
        "journal/sqlite.py",
        '        if problem != "ok":\n',
        "        if problem is None:\n",
        (SQLITE,),
    ),
    Mutant(
        "a damaged log is taken for one that a crash cut off",
        "journal/sqlite.py",
        "    if wal.is_damaged(log, schema.PAGE_BYTES):\n",
        "    if wal.is_damaged(log, schema.PAGE_BYTES) and False:\n",
        (LOG,),
    ),
    Mutant(
        "a log of which the header is damaged is taken for none",
        "journal/wal.py",
        "        if not sound:\n            salts = None  # the first frame's, then\n",
        "        if not sound:\n            return False\n",
        (LOG,),
    ),
    Mutant(
        "a link's log is looked for beside the link",
        "journal/file.py",
        "    found = path.resolve() if path.is_symlink() else path\n",
        "    found = path\n",
        (LOG, "-k", "link"),
    ),
    Mutant(
        "an empty file is begun anew",
        "journal/sqlite.py",
        "    if not path.stat().st_size:\n        raise JournalError(_EMPTY.format(path=path))\n",
        "    if not path.stat().st_size:\n        _write_schema(path)\n",
        (SQLITE,),
    ),
    Mutant(
        "two processes write one journal",
        "journal/lock.py",
        "        if _flocked(descriptor, fcntl.LOCK_EX):\n",
        "        if _flocked(descriptor, fcntl.LOCK_SH):\n",
        (SQLITE,),
    ),
    Mutant(
        "a newer schema is read",
        "journal/sqlite.py",
        "        if version not in {schema.SCHEMA_VERSION, schema.UPGRADED_VERSION}:\n",
        "        if version < schema.UPGRADED_VERSION:\n",
        (SQLITE,),
    ),
    Mutant(
        "a failed commit is forgotten",
        "journal/writer.py",
        "            self._broken = trip.failure = broken\n",
        "            trip.failure = broken\n",
        SIM,
    ),
    Mutant(
        "a failed commit is not told",
        "journal/writer.py",
        "            self._broken = trip.failure = broken\n",
        "            self._broken = broken\n",
        SIM,
    ),
    # --- the quota -------------------------------------------------------------------------------
    Mutant(
        "what the disk held back leaves at once",
        "dispatch/calls.py",
        "        moment = self._gate.pacer.leave(batch.number, batch.weight, now)\n",
        "        moment = now\n",
        (DISPATCHER, "-k", "disk"),
    ),
    Mutant(
        "a batch that missed its turn leaves all the same",
        "engine/sending.py",
        "            await anyio.sleep_until(moment)\n\n",
        "            await anyio.sleep_until(moment)\n"
        "            self._dispatcher.pacer._departures.leave(batch.number, moment)\n"
        "            return\n\n",
        STALLS,
    ),
    Mutant(
        "a batch gets its turn while calls are taken back",
        "engine/sending.py",
        "            if self._ending:\n                self._aboard",
        "            if not self._aboard:\n                self._aboard",
        ("tests/engine/test_taken_back.py", "-k", "departure"),
    ),
    Mutant(
        "the turn is taken before the connection stands",
        "ses/aws/connection.py",
        "        depart = _depart.get()\n",
        "        if (depart := _depart.get()) is not None:\n"
        "            await depart()\n"
        "        depart = None\n",
        ("tests/ses/test_paced_connections.py", "-k", "handshake"),
    ),
    Mutant(
        "a stop between turn and write is forgotten",
        "dispatch/departures.py",
        "        return min(super().level(now), self._depth - self._unwritten)\n",
        "        return super().level(now)\n",
        ("tests/dispatch/test_departures.py",),
    ),
    Mutant(
        "a restarted run forgets the day",
        "engine/account.py",
        "        return standing.sends.day(self._wall(), anyio.current_time(), self._day_s)\n",
        "        return Standing().sends.day(self._wall(), anyio.current_time(), self._day_s)\n",
        ("tests/sim/test_pace.py", "-k", "restarted"),
    ),
    Mutant(
        "throttles count as often as calls were under way",
        "dispatch/adaptive_rate.py",
        "        if number <= self._cut_number:\n",
        "        if number < 0:\n",
        ("tests/dispatch/test_adaptive_rate.py",),
    ),
    # --- intake, sources, operators --------------------------------------------------------------
    Mutant(
        "header values are not looked at",
        "mailing/fields.py",
        '    if "\\r" in value or "\\n" in value:\n'
        '        raise ValueError(f"the value of header {name} has a line break")\n'
        "    if not _header_value(value):\n",
        "    if not value:\n",
        (PROOFS, "-k", "hostile"),
    ),
    Mutant(
        "control characters are not looked for in addresses",
        "mailing/addresses.py",
        "    if found := _control(text):\n",
        "    if found := None:\n",
        ("tests/mailing/test_addresses.py",),
    ),
    Mutant(
        "a list may be half NUL",
        "sources/csv.py",
        '    if "\\0" in text:\n        return NUL\n',
        "",
        ("tests/sources/test_csv_source.py",),
    ),
    Mutant(
        "a long line is kept whole",
        "sources/lines.py",
        "        if len(self._begun) > ROW_BYTES_MAX:\n",
        "        if len(self._begun) < 0:\n",
        ("tests/sources",),
    ),
    Mutant(
        "what an operator dropped can be reopened",
        "journal/standing.py",
        "        self.revisable[was].discard(rows)\n",
        "        self.revisable[was].discard(rows)\n"
        "        if becomes in self.revisable:\n"
        "            self.revisable[becomes].add(rows)\n",
        ("tests/cli/test_journal_commands.py", "-k", "dropped"),
    ),
    Mutant(
        "--only begins anew each time",
        "journal/recovery.py",
        "    if standing.reopened is state and not standing.finished:\n        return []\n",
        "    if standing.reopened is state and not standing.finished:\n"
        "        return list(standing.revisable[state])\n",
        ("tests/cli/test_journal_commands.py", "-k", "part or once_more"),
    ),
    Mutant(
        "a second writer in one process",
        "journal/lock.py",
        "        if any(each.writes for each in file.openings):\n            raise",
        "        if not file:\n            raise",
        (LOCK, "-k", "second_writer"),
    ),
    Mutant(
        "who asks whether a journal is being written drops the locks of its writer",
        "journal/lock.py",
        "    with _opened(path, os.O_RDONLY) as file:\n        return file.written\n",
        "    os.close(os.open(path, os.O_RDONLY))\n"
        "    with _opened(path, os.O_RDONLY) as file:\n        return file.written\n",
        (LOCK, "-k", "take_its_log_away"),
    ),
    Mutant(
        "the writer has its log by SQLite's locks alone",
        "journal/sqlite.py",
        "        self._opening.hold()\n",
        "",
        (LOCK, "-k", "take_its_log_away"),
    ),
    Mutant(
        "a forked process keeps its parent's lock",
        "journal/lock.py",
        "        os.close(file.descriptor)\n    _files.clear()\n",
        "    _files.clear()\n",
        (LOCK, "-k", "outlives"),
    ),
    Mutant(
        "a journal of two names is opened by either",
        "journal/file.py",
        "(links := found.stat().st_nlink) > 1:",
        "(links := found.stat().st_nlink) > 99:",
        (LOCK, "-k", "two_names"),
    ),
    Mutant(
        "a jump of the clock makes keys old",
        "worker/queue/known_keys.py",
        "    return min(max(0.0, after - before), GAP_MAX_S)\n",
        "    return max(0.0, after - before)\n",
        ("tests/worker/test_known_keys.py", "-k", "jump"),
    ),
    Mutant(
        "a mailing that is dropped twice is sent twice",
        "worker/mailings/inbox.py",
        "                if (why := self._sent_before(found)) is not None:\n",
        "                if (why := self._sent_before(found)) is None and False:\n",
        (ENDS, "-k", "content_that_tells"),
    ),
    Mutant(
        "who comes too late to put a mailing away does not notice",
        "worker/mailings/jobs.py",
        "            if not await to_thread.run_sync(job.path.exists):\n",
        "            if False:\n",
        (ENDS, "-k", "somebody_else"),
    ),
    Mutant(
        "who is in doubt is not excepted",
        "engine/excepted.py",
        "(State.REJECTED, State.FAILED)",
        "(State.REJECTED, State.FAILED, State.IN_DOUBT)",
        (EXCEPT, "-k", "left_out"),
    ),
    Mutant(
        "the exceptions are forgotten when the run carries on",
        "journal/recovery.py",
        "    if not standing.counts.read or before.keys() == excepting.keys():\n",
        "    if standing is not None:\n",
        (EXCEPT, "-k", "whole_run"),
    ),
    Mutant(
        "the next mailing in a finished journal is passed over",
        "journal/recovery.py",
        "    if standing.finished:\n        raise RunFinishedError(",
        "    if standing.finished:\n        return\n        raise RunFinishedError(",
        (NEXT_MAILING, "-k", "next_mailing"),
    ),
    Mutant(
        "a mailing that has changed half way is sent to the rest",
        "journal/recovery.py",
        "    if mailed or standing.doubted:\n",
        "    if mailed < 0:\n",
        (NEXT_MAILING, "-k", "half_way"),
    ),
    Mutant(
        "addresses in the text of a hold",
        "model/hold.py",
        "    return plain(without_addresses(text))\n",
        "    return plain(text)\n",
        ("tests/test_privacy.py",),
    ),
    Mutant(
        "addresses in the log",
        "engine/sending.py",
        '"batch %d: SES gave a status unknown to us: %s", batch.number, said',
        '"batch %s: SES gave a status unknown to us: %s", batch.entries, said',
        ("tests/test_privacy.py",),
    ),
    Mutant(
        "a stop cancels the calls in flight",
        "engine/run.py",
        "        self._dispatcher.stop()\n        self._sending.wake()\n",
        "        self._dispatcher.stop()\n        raise KeyboardInterrupt\n",
        (SIGNALS, "-k", "stops_the_run_with_4"),
    ),
    # --- single messages -------------------------------------------------------------------------
    Mutant(
        "a withdrawn message is sent all the same",
        "dispatch/backlog.py",
        "        self._withdrawn.add(seq)\n",
        "        pass\n",
        ("tests/engine/test_deadlines_and_cancellation.py", "-k", "withdraws_what_is_not"),
    ),
    Mutant(
        "keys are forgotten when the journal is opened",
        "engine/outbox_lifetime.py",
        "                    known=known,\n",
        "                    known={},\n",
        ("tests/engine/test_message_keys.py", "-k", "one_key"),
    ),
    Mutant(
        "an outcome is told before it is durable",
        "engine/sending.py",
        "        await self._writer.write([journal.settlement(batch.number, outcomes, self._wall())])\n",
        "        self._listener.settled(batch, verdicts, outcomes)\n"
        "        await self._writer.write([journal.settlement(batch.number, outcomes, self._wall())])\n",
        ("tests/engine/test_send.py",),
    ),
    Mutant(
        "a lane that waits is not asked for",
        "dispatch/dispatcher.py",
        "        if not self._gate.is_next(self._member):\n",
        "        if self._stopping:\n",
        ("tests/dispatch/test_gate.py",),
    ),
    Mutant(
        "a stream that finds no free call gives up its turn",
        "dispatch/dispatcher.py",
        "        if not self._gate.may_start(self._member):\n",
        "        if not self._gate.may_start(self._member):\n"
        "            self._gate.deactivate(self._member)\n",
        ("tests/dispatch/test_gate.py",),
    ),
    Mutant(
        "a pause is not looked for again when a mailing's journal is free",
        "worker/mailings/jobs.py",
        "            await self._see_marks(job)  # the",
        "            # the",
        ("tests/worker/test_several_workers.py", "-k", "pause_holds"),
    ),
    Mutant(
        "a message is deleted before it is sent",
        "worker/queue/consumer.py",
        "        return await self.recipients.send(read, received.origin)\n",
        "        self._deleting.add((received, 0.0))\n"
        "        return await self.recipients.send(read, received.origin)\n",
        (QUEUE, "-k", "given_back"),
    ),
    Mutant(
        "an event is deleted before it is stored",
        "feedback/queue.py",
        "                await ingest.put([each.body.encode() for each in received])\n",
        "                await self._queue.delete(received)\n"
        "                await ingest.put([each.body.encode() for each in received])\n",
        ("tests/feedback/test_listener.py", "-k", "between_the_store"),
    ),
    Mutant(
        "an address is suppressed after its event is deleted, or never",
        "feedback/ingest.py",
        "            for act in self._acts:\n                act(parsed)\n",
        "",
        ("tests/feedback/test_listener.py", "-k", "between_the_store"),
    ),
    Mutant(
        "a file's mark is written before its events",
        "feedback/files.py",
        "        lines += filter(None, [rest])\n",
        "        await ingest.put([], file.mark._replace(position=file.size))\n"
        "        return count + len(lines)\n",
        ("tests/feedback/test_listener.py", "-k", "read_once"),
    ),
    Mutant(
        "a queue that is broken ends the worker",
        "feedback/listener.py",
        "_PASSING = (ConfigurationError, UnreachableError, SourceError, StoreError)\n",
        "_PASSING = (StoreError,)\n",
        ("tests/feedback/test_listener.py", "-k", "not_there"),
    ),
    Mutant(
        "keys of older processes are not looked at",
        "engine/message_keys.py",
        "    return collector.found\n",
        "    return {}\n",
        ("tests/worker/test_queue_keys.py", "-k", "one_key"),
    ),
    Mutant(
        "a message that comes back from the dead-letter queue is a new one",
        "ses/aws/sqs.py",
        "        return said if _ID.fullmatch(said) else self.id\n",
        "        return self.id\n",
        ("tests/worker/test_dead_letters.py", "-k", "comes_back"),
    ),
    Mutant(
        "each message tries for itself while the account is held",
        "worker/queue/sender.py",
        "            if self.hold is not None:\n                await self._change.wait()\n"
        "                continue\n",
        "",
        ("tests/worker/test_account_holds.py", "-k", "tries_for_all"),
    ),
    Mutant(
        "a hold that has ended keeps the queue closed",
        "worker/queue/sender.py",
        "            self._went_on()\n",
        "",
        ("tests/worker/test_account_holds.py", "-k", "hold_has_ended"),
    ),
    Mutant(
        "a message in hand is not kept hidden",
        "worker/queue/consumer.py",
        "            tasks.start_soon(self._keep_hidden)\n",
        "",
        (QUEUE, "-k", "stays_hidden"),
    ),
    Mutant(
        "a mailing's journal stays open",
        "worker/mailings/jobs.py",
        "            await to_thread.run_sync(journal.close)\n\n    async def _end(",
        "            KEPT.append(journal)\n\n    async def _end(",
        (PROOFS, "-k", "soak"),
        more=(
            (
                "logger = logging.getLogger(__name__)\n",
                "logger = logging.getLogger(__name__)\nKEPT = []\n",
            ),
        ),
    ),
    Mutant(
        "a message that is malformed is deleted without a trace",
        "worker/queue/consumer.py",
        "        if not await self._queue.send_to_dlq(received, reason):\n",
        "        if False:\n",
        ("tests/worker/test_dead_letters.py", "-k", "malformed or the_dead_letter_queue"),
    ),
    Mutant(
        "a mailing's list may lie anywhere",
        "worker/mailings/contents.py",
        "        within=path,\n    )\n",
        "    )\n",
        FOLDER_OF_MAILING,
    ),
    Mutant(
        "two dots lead out of a mailing's folder",
        "sources/reading.py",
        "                if len(folders) == 1:\n                    raise _outside()\n",
        "                if len(folders) == 1:\n"
        "                    folders.insert(0, os.open(within.parent, _FOLDER_FLAGS))\n",
        READING,
    ),
    Mutant(
        "a link that is put in place of a file meanwhile is followed",
        "sources/reading.py",
        "flags=os.O_NOFOLLOW, folder",
        "flags=0, folder",
        READING,
    ),
    Mutant(
        "a link that is put in place of a folder meanwhile is followed",
        "sources/reading.py",
        "_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC",
        "_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC",
        READING,
    ),
    Mutant(
        "a named pipe is read as if it were a file",
        "sources/reading.py",
        '        raise NoFileError("it is a named pipe, and not a file")\n',
        "        return\n",
        READING,
    ),
    Mutant(
        "a report is written through a link that lies there",
        "worker/mailings/inbox.py",
        "        with suppress(FileNotFoundError):\n            os.unlink(begun, dir_fd=folder)\n"
        "        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC\n",
        "        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC\n",
        FOLDER_OF_MAILING,
    ),
    Mutant(
        "a mailing's journal may be a link",
        "worker/mailings/contents.py",
        "        if not stat.S_ISREG(status.st_mode):\n",
        "        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):\n",
        FOLDER_OF_MAILING,
    ),
    Mutant(
        "a page of another site may read, if its browser alone says so",
        "worker/http/server.py",
        'return said["Site"] == "cross-site" and not followed',
        "return False",
        (WORKER_HTTP, "-k", "hostile"),
    ),
    Mutant(
        "a client may take any time over its request",
        "worker/http/connections.py",
        "        connection.wait(REQUEST_S)\n",
        "        connection.wait(3600.0)\n",
        (WORKER_HTTP, "-k", "in_time"),
    ),
    Mutant(
        "any number of idle connections take descriptors",
        "worker/http/connections.py",
        "        while len(self._open) >= self.most:\n",
        "        while False:\n",
        (WORKER_HTTP, "-k", "descriptors_for_work"),
    ),
    Mutant(
        "what SES says orders a terminal",
        "model/hold.py",
        "    return plain(without_addresses(text))\n",
        "    return without_addresses(text)\n",
        ("tests/ses/test_statuses.py",),
    ),
    Mutant(
        "a record of a text log may forge another",
        "cli/output.py",
        '        self._keep = "\\n" if lines else ""\n',
        '        self._keep = "\\n"\n',
        ("tests/cli/test_terminal.py", "-k", "forge"),
    ),
    # --- whose row it is -------------------------------------------------------------------------
    Mutant(
        "a resume goes by row number alone",
        "mailing/recognition.py",
        "            if self._left[:size] != prints[:size]:\n",
        "            if size < 0:\n",
        (WHOSE_ROW, "-k", "known_ones or any_edit"),
    ),
    Mutant(
        "in order a row is known by its key alone",
        "mailing/fingerprints.py",
        "    by_key = width == KEYED_BYTES\n",
        "    by_key = True\n",
        (WHOSE_ROW, "-k", "another_recipient_is_another_row"),
    ),
    Mutant(
        "a run begun by key is carried on in order",
        "engine/provenance.py",
        "    if prints.known and prints.width == KEYED_BYTES and not by_key:\n",
        "    if prints.known < 0:\n",
        (WHOSE_ROW, "-k", "not_carried_on_otherwise"),
    ),
    Mutant(
        "a part that is sent once more takes in who is new",
        "mailing/intake.py",
        "        if self._known_only and new:\n",
        "        if False:\n",
        (WHOSE_ROW, "-k", "a_part_that_is_sent_once_more"),
    ),
    Mutant(
        "by key an excepted run without keys leaves nobody out",
        "mailing/dedupe.py",
        "        return address in self._names or (self._by_key and by_key in self._names)\n",
        "        return (by_key if self._by_key else address) in self._names\n",
        (EXCEPT, "-k", "known_by_the_address"),
    ),
    Mutant(
        "whom an excepted run has mailed since stays pending",
        "engine/pipeline.py",
        "        if mailed:\n",
        "        if False:\n",
        (EXCEPT, "-k", "meanwhile"),
    ),
    Mutant(
        "with keys every row is new",
        "mailing/recognition.py",
        "                if seq not in self._came:\n",
        "                if seq < 0:\n",
        (WHOSE_ROW, "-k", "order_is_free or any_edit"),
    ),
    Mutant(
        "a known row is found twice by one key",
        "mailing/recognition.py",
        "                    self._came.add((seq,))\n",
        "",
        (WHOSE_ROW, "-k", "as_often or duplicates"),
    ),
    Mutant(
        "who is gone stays pending in a finished run",
        "engine/pipeline.py",
        "            await self._give_up_the_gone(rows.missing)\n",
        "            pass\n",
        (WHOSE_ROW, "-k", "order_is_free or any_edit"),
    ),
    Mutant(
        "a list that has lost its end is taken for finished",
        "engine/pipeline.py",
        "        elif rows.missing:\n",
        "        elif False:\n",
        (WHOSE_ROW, "-k", "lost_its_end"),
    ),
    Mutant(
        "the content that was read is not looked at again",
        "engine/provenance.py",
        "        if found is not None and found != standing.head:\n",
        "        if found is None:\n",
        (CHANGED_LISTS, "-k", "another_content"),
    ),
    Mutant(
        "a list that changes while it is read is read on",
        "sources/blocks.py",
        "        if not os.path.samestat(opened, named) or "
        "_version(opened) != _version(self._stat):\n",
        "        if opened is None:\n",
        ("tests/sources/test_file_sources.py", "-k", "changes_while"),
    ),
    # --- templates: what becomes of a row ---------------------------------------------------------
    Mutant(
        "a null is taken for a value",
        "mailing/rendering/printing.py",
        "        elif value is None:\n",
        "        elif value == {None}:\n",
        RENDERING,
    ),
    Mutant(
        "a name that is missing in a condition is a defect",
        "mailing/rendering/compiling.py",
        "        for each in yes if is_true(find(frame)) else no:\n",
        "        value = find(frame)\n"
        "        if value is MISSING:\n"
        "            frame.run.findings.append(Finding(Fault.MISSING, _place))\n"
        "        for each in yes if is_true(value) else no:\n",
        RENDERING,
    ),
    Mutant(
        "values are escaped for HTML",
        "mailing/rendering/printing.py",
        "            frame.run.write(form % values)\n",
        "            from html import escape\n"
        "            frame.run.write(form % tuple(escape(str(each)) for each in values))\n",
        RENDERING,
    ),
    Mutant(
        "what is not documented is fine",
        "mailing/rendering/printing.py",
        "    return lambda frame: frame.run.findings.append(finding)\n",
        "    return lambda frame: finding\n",
        RENDERING,
    ),
    Mutant(
        "names of blocks in capitals are fine",
        "mailing/rendering/compiling.py",
        "        return lambda frame: frame.run.findings.append(finding)\n",
        "        return lambda frame: finding\n",
        RENDERING,
    ),
    Mutant(
        "a partial that is not defined is fine",
        "mailing/rendering/partials.py",
        "            run.findings.append(Finding(Fault.PARTIAL, place))\n",
        "",
        RENDERING,
    ),
    Mutant(
        "partials are known outside of their block",
        "mailing/rendering/compiling.py",
        "        known = {**frame.partials, **defined}\n",
        "        known = frame.partials\n        known.update(defined)\n",
        RENDERING,
    ),
    Mutant(
        "two dots lead out of the data that a block keeps",
        "mailing/rendering/compiling.py",
        "        up = frame.up if is_same(value, frame.context) else frame\n",
        "        up = frame\n",
        RENDERING,
    ),
    Mutant(
        "a judge leaves out what stands after the last block",
        "mailing/rendering/compiling.py",
        "    steps += pieces.steps()\n",
        "    steps += [] if scope.is_judged_only and steps else pieces.steps()\n",
        RENDERING,
    ),
    Mutant(
        "a line of its own stays behind a block",
        "mailing/rendering/white_space.py",
        "    if after and _is_line_before(_else_of(block).body, None):\n",
        "    if after and not before and _is_line_before(_else_of(block).body, None):\n",
        RENDERING,
    ),
    Mutant(
        "objects within the data replace each other",
        "mailing/rendering/merging.py",
        "            both[key] = merged(value, own)\n",
        "            both[key] = own\n",
        RENDERING,
    ),
    Mutant(
        "a row is counted for each part that lacks the name",
        "mailing/rendering/findings.py",
        "            if key not in counted:\n",
        "            if counted is not None:\n",
        RENDERING,
    ),
    Mutant(
        "a row that cannot be judged is fine",
        "mailing/rendering/findings.py",
        "    return Verdict.UNKNOWN if Fault.UNKNOWN in faults else Verdict.FINE\n",
        "    return Verdict.FINE\n",
        RENDERING,
    ),
    Mutant(
        "inline content with blocks is taken",
        "mailing/rendering/template.py",
        "    if said:\n",
        "    if said == source:\n",
        RENDERING,
    ),
    # --- before the first call -------------------------------------------------------------------
    Mutant(
        "a mailing with an error begins all the same",
        "checking/checked.py",
        "        if found := self.errors:\n",
        "        if (found := self.errors) and approved:\n",
        (*CHECK, "-k", "refuses_to_begin"),
    ),
    Mutant(
        "an approval holds for whatever has become of it",
        "checking/checked.py",
        "        if approved is None or approved == self.digest:\n",
        "        if approved is None or self.digest:\n",
        (*CHECK, "-k", "changed_since"),
    ),
    Mutant(
        "the check uses up a pipe",
        "checking/check.py",
        '            if getattr(source, "can_be_read_again", True):\n',
        "            if parts:\n",
        (*CHECK, "-k", "of_a_pipe"),
    ),
    Mutant(
        "what was found in a list holds for the next list",
        "checking/check.py",
        "    for part in (identity, parts, settings.model_dump_json()):\n",
        "    for part in (parts, settings.model_dump_json()):\n",
        (*CHECKED_MAILINGS, "-k", "is_mended"),
    ),
    Mutant(
        "a row that is refused is blamed for what it lacks",
        "checking/rows.py",
        "            if findings := judge(data):\n",
        "            if findings := judge(data):\n"
        "                self.seen.defects.add(number, findings)\n",
        ("tests/checking/test_check.py", "-k", "refused_are_not_blamed"),
    ),
    Mutant(
        "a MAIL FROM that refuses all mail is a warning",
        "checking/sender.py",
        '        if identity.on_mx_failure == "REJECT_MESSAGE":\n',
        '        if identity.on_mx_failure == "REJECT":\n',
        ("tests/checking/test_check.py", "-k", "MAIL_FROM_REFUSES"),
    ),
    Mutant(
        "an event destination that is off counts",
        "checking/events.py",
        "for each in destinations if each.enabled for event",
        "for each in destinations for event",
        ("tests/checking/test_check.py", "-k", "EVENTS_NONE"),
    ),
    Mutant(
        "a previewed mail runs scripts",
        "checking/preview.py",
        '<iframe sandbox="" ',
        '<iframe sandbox="allow-scripts" ',
        ("tests/checking/test_preview_page.py", "-k", "notebook"),
    ),
    Mutant(
        "a worker does not check",
        "worker/mailings/jobs.py",
        "            if self._settings.check:\n",
        "            if self._settings.check and self.paused:\n",
        (*CHECKED_MAILINGS, "-k", "is_mended"),
    ),
    # --- what SES says afterwards ----------------------------------------------------------------
    Mutant(
        "the last event wins",
        "feedback/fate.py",
        "        one.bits | other.bits,\n",
        "        other.bits,\n",
        (FATE, "-k", "copies or semilattice"),
    ),
    Mutant(
        "the account's own suppressions count as bounces",
        "feedback/fate.py",
        "    if event.sub_type in _NOT_BOUNCES:\n",
        "    if event.sub_type == '':\n",
        (FATE, "-k", "hard_bounce"),
    ),
    Mutant(
        "a delivered mail may be sent again",
        "feedback/fate.py",
        "    if bits & _REACHED:\n",
        "    if bits & DELAYED:\n",
        (FATE, "-k", "sent_again or never_proven"),
    ),
    Mutant(
        "another attempt's failure settles the one in doubt",
        "feedback/fate.py",
        " if fate.bits & _HAPPENED and id_ not in known",
        " if fate.bits & _HAPPENED",
        (FATE, "-k", "answered"),
    ),
    Mutant(
        "a mail with two tags is the first one's",
        "feedback/records.py",
        "    if isinstance(values, list) and len(values) == 1:\n",
        "    if isinstance(values, list) and values:\n",
        (RECORDS, "-k", "names_a_recipient"),
    ),
    Mutant(
        "a broken line loses the whole object",
        "feedback/records.py",
        "    if not others or _json(first) is _BROKEN:\n",
        "    if not others or any(_json(each) is _BROKEN for each in (first, *others)):\n",
        (RECORDS, "-k", "no_other_line"),
    ),
    Mutant(
        "tags are trusted to be an object",
        "feedback/records.py",
        "        _tag_in(tags) if isinstance(tags, dict) else None,\n",
        "        _tag_in(tags or {}),\n",
        (RECORDS, "-k", "no_mutation"),
    ),
    Mutant(
        "only what was heard of counts as sent",
        "feedback/brake.py",
        "            each.evidence.send(bucket, len(rows) - (deaf if each.bits == COMPLAINED else 0))\n",
        "            each.evidence.send(bucket, 0)\n",
        (BRAKE, "-k", "good_list"),
        more=(
            (
                "        for each in self._watched:\n            if new & each.bits",
                "        for each in self._watched:\n            if ended or new & UNRENDERED:\n                each.evidence.send(bucket, 1)\n            if new & each.bits",
            ),
        ),
    ),
    Mutant(
        "only the last prefix is looked at",
        "feedback/evidence.py",
        "            found = found or self._judge(bucket, sum(start), sum(later))\n",
        "            found = self._judge(bucket, sum(start), sum(later))\n",
        (EVIDENCE, "-k", "drown"),
    ),
    Mutant(
        "restarts weigh more than one",
        "feedback/evidence.py",
        "RESTARTS_SUM = 1.3064\n",
        "RESTARTS_SUM = 0.0013064\n",
        (EVIDENCE, "-k", "weights"),
    ),
    Mutant(
        "a late start stops a list that has one dead domain",
        "feedback/evidence.py",
        "        if start < self._wanted and self._heard_lately(bucket) < self.limit * WINDOW:\n",
        "        if start < 0:\n",
        (EVIDENCE, "-k", "gives_an_alarm"),
    ),
    Mutant(
        "evidence of three bounces is enough",
        "feedback/evidence.py",
        "        if heard < self._least or start + later < self._wanted:\n",
        "        if start + later < self._wanted:\n",
        (EVIDENCE, "-k", "gives_an_alarm"),
    ),
    Mutant(
        "there is no ramp",
        "feedback/ramp.py",
        "        if highest <= limits.bounces or not limits.bounces:\n",
        "        if highest >= 0:\n",
        (BRAKE, "-k", "bad_list or ramp"),
    ),
    Mutant(
        "who hears nothing sends on",
        "feedback/ramp.py",
        "            return max(0, limits.exposed - self.sends)\n",
        "            return UNLIMITED\n",
        (BRAKE, "-k", "canary or stream"),
    ),
    Mutant(
        "a batch may be larger than the ramp allows",
        "dispatch/dispatcher.py",
        "            size = int(min(size, self.daily.room(now), BATCH_RECIPIENTS_MAX, room))\n",
        "            size = int(min(size, self.daily.room(now), BATCH_RECIPIENTS_MAX))\n",
        (DISPATCHER, "-k", "canary"),
    ),
    Mutant(
        "the brake sees who sends, and holds nobody",
        "dispatch/dispatcher.py",
        "        self._hold = self._brake.stop(now)\n",
        "        self._brake.stop(now)\n",
        (DISPATCHER, "-k", "canary or bounces"),
    ),
    Mutant(
        "each attempt counts as a send",
        "feedback/brake.py",
        "            if entry.seq > self._ramp.last_row:\n",
        "            if entry.seq:\n",
        (DISPATCHER, BRAKE, "-k", "one_send or higher_one"),
    ),
    Mutant(
        "bounces of rows that were not counted count",
        "feedback/ramp.py",
        "        if row not in self._counted:\n            return None\n",
        "",
        (BRAKE, "-k", "higher_one"),
    ),
    Mutant(
        "what comes while the past is read is lost",
        "engine/braking.py",
        "        self._hear(early)\n",
        "",
        (BRAKING, "-k", "read_back"),
    ),
    Mutant(
        "a row whose two mails bounce counts twice",
        "engine/braking.py",
        "            new = change.new & ~known\n",
        "            new = change.new\n",
        (BRAKING, "-k", "two_mails"),
    ),
    Mutant(
        "a mail that was not rendered is not watched",
        "feedback/brake.py",
        "            if limit\n",
        "            if limit and bits != UNRENDERED\n",
        (BRAKE, "-k", "template or own"),
    ),
    Mutant(
        "complaints of the past are forgotten",
        "feedback/brake.py",
        "                    self.hear(row, bits, bits)\n",
        "                    self.hear(row, bits & ~COMPLAINED, bits & ~COMPLAINED)\n",
        (BRAKE, "-k", "earned"),
    ),
    Mutant(
        "each copy of a bounce counts",
        "feedback/brake.py",
        "            if new & each.bits and not bits & ~new & each.bits:\n",
        "            if bits & each.bits:\n",
        (BRAKE, "-k", "copies"),
    ),
    Mutant(
        "bounces from before an override count again",
        "feedback/ramp.py",
        "        if row not in self._counted:\n",
        "        if row > self.last_row:\n",
        (BRAKE, "-k", "override"),
    ),
    Mutant(
        "two bounces of one mail are taken for one",
        "feedback/batch.py",
        "    identity = event.feedback_id or repr((event.at, event.recipients))\n",
        "    identity = ''\n",
        (FEEDBACK_STORE, "-k", "two_bounces"),
    ),
    Mutant(
        "an event before its run is known is dropped",
        "feedback/batch.py",
        "        if row is None or not told.bits:\n",
        "        if row is None or not told.bits or event.tag.run in self.new_runs:\n",
        (FEEDBACK_STORE, "-k", "nobody_knows"),
    ),
    Mutant(
        "a second mail of a row has the first one's fate",
        "feedback/batch.py",
        "        place = (row, packed(event.message_id))\n",
        "        place = (row, 'id')\n",
        (FEEDBACK_STORE, "-k", "second_message_id"),
    ),
    Mutant(
        "a commit now and then is not made",
        "database/__init__.py",
        '                yield self._connection\n                self._connection.execute("COMMIT")\n',
        "                yield self._connection\n"
        "                lost = os.urandom(1)[0] < 16\n"
        '                self._connection.execute("ROLLBACK" if lost else "COMMIT")\n',
        (FEEDBACK_STORE, "-k", "order_copies"),
    ),
    Mutant(
        "a store that has lost its content is taken for a new one",
        "database/__init__.py",
        "            elif not path.stat().st_size:\n",
        "            elif not path.stat().st_size and not path.unlink():\n"
        "                _make(path, application_id, schema)\n"
        "            elif False:\n",
        (FEEDBACK_STORE, "-k", "another_file"),
    ),
    # --- whom not to mail ------------------------------------------------------------------------
    Mutant(
        "complaints keep transactional mail back",
        "suppression/scopes.py",
        "    return scope == ALL or (to is not None and scope in (MAILINGS, to))\n",
        "    return scope in (ALL, MAILINGS, to)\n",
        (SUPPRESSIONS, "-k", "scope_says"),
    ),
    Mutant(
        "the late look at suppressions comes after the intent",
        "engine/sending.py",
        "                suppressed = await self._screen.late(batch.entries)\n",
        "                await self._writer.write([journal.intent(batch, at)])\n"
        "                await self._screen.late(batch.entries)\n"
        "                return batch\n",
        SUPPRESSING,
    ),
    Mutant(
        "who was suppressed while waiting is mailed",
        "engine/screening.py",
        "            if self._screening.is_as_it_was:\n",
        "            if True:\n",
        SUPPRESSING,
    ),
    Mutant(
        "a link that is only opened unsubscribes",
        "worker/http/unsubscribing.py",
        "web.get(path, self._ask)",
        "web.get(path, self._unsubscribe)",
        ("tests/worker/test_unsubscribing.py", "-k", "only_post"),
    ),
    Mutant(
        "a bounce suppresses whom the remote server names",
        "feedback/suppressing.py",
        "    if len(sent_to) == 1:\n",
        "    if not sent_to:\n",
        ("tests/feedback/test_suppressing.py", "-k", "who_it_is_about"),
    ),
    Mutant(
        "cc and bcc may be suppressed",
        "mailing/intake.py",
        "self._suppressed(keys)) is not None:\n",
        "self._suppressed(keys[:1])) is not None:\n",
        ("tests/engine/test_suppressed.py", "-k", "says_why"),
    ),
    Mutant(
        "transactional mail is kept back by what holds for mailings",
        "engine/outbox.py",
        'None if lane == "transactional" else self._scope',
        "self._scope",
        ("tests/engine/test_suppressed.py", "-k", "transactional"),
    ),
    Mutant(
        "what another process suppresses is not noticed",
        "suppression/store.py",
        "        if not self.is_stale:\n",
        "        if not self._has_written:\n",
        (SUPPRESSIONS, "-k", "any_process or another_process"),
    ),
    Mutant(
        "an index of another future is trusted",
        "suppression/store.py",
        '            "SELECT 1 FROM change WHERE no = ? AND nonce = ?", *found.version\n',
        '            "SELECT 1 FROM change WHERE no = ? AND nonce <> -?", *found.version\n',
        (SUPPRESSIONS, "-k", "another_future"),
    ),
    Mutant(
        "a damaged index is trusted",
        "suppression/index.py",
        "            if _crc(descriptor) != crc:\n",
        "            if crc < 0:\n",
        ("tests/suppression", "-k", "flipped"),
    ),
    Mutant(
        "a slept process is told too little",
        "suppression/store.py",
        "            is_much = before < trimmed - 1 or last - before > CHANGES_LEAST\n",
        "            is_much = False\n",
        (SUPPRESSIONS, "-k", "slept or made_anew_when"),
    ),
    Mutant(
        "a record made of parts of two is found",
        "suppression/index.py",
        "        while at >= 0 and at % RECORD_BYTES:  # made of parts of two others\n",
        "        while False:\n",
        ("tests/suppression/test_index.py", "-k", "parts"),
    ),
    Mutant(
        "hash-only keeps the address",
        "suppression/store.py",
        "            address if self._keeps_addresses else None,\n",
        "            address,\n",
        (SUPPRESSIONS, "-k", "hash_only"),
    ),
    Mutant(
        "a forgotten address stays in the log",
        "suppression/store.py",
        '        [(busy, _, _)] = self._database.read("PRAGMA wal_checkpoint(TRUNCATE)")\n',
        "        busy = False\n",
        (SUPPRESSIONS, "-k", "forgotten"),
    ),
    Mutant(
        "a link's signature is not looked at",
        "suppression/links.py",
        "    if not hmac.compare_digest(signature, _signature(key, body)) or len(body) < _HEAD.size:\n",
        "    if len(body) < _HEAD.size:\n",
        ("tests/suppression/test_links.py",),
    ),
    Mutant(
        "a row of another provider's list is left out in silence",
        "suppression/exports.py",
        "        yield _read(number, named, format_, reason, now)\n",
        "        if isinstance(found := _read(number, named, format_, reason, now), Suppression):\n"
        "            yield found\n",
        ("tests/suppression/test_exports.py", "-k", "costs_no_other"),
    ),
]


def named(name: str) -> Mutant:
    """The mutant of that name."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)


@contextmanager
def planted(mutant: Mutant | None) -> Iterator[dict[str, str]]:
    """A copy of the engine with the bug in it (None: without one); the environment that uses it."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-mutant-") as name:
        copy = Path(name) / "engine"
        shutil.copytree(ENGINE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        if mutant is not None:
            file = copy / "mailsluice" / mutant.file
            text = file.read_text(encoding="utf-8")
            for was, becomes in ((mutant.was, mutant.becomes), *mutant.more):
                times = text.count(was)
                assert times == 1, f"{mutant.name}: its text stands {times} times in {mutant.file}"
                text = text.replace(was, becomes)
            file.write_text(text, encoding="utf-8")
        yield {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{Path.cwd()}", "PYTHONHASHSEED": "0"}


def killed(mutant: Mutant, *, is_planted: bool = True) -> tuple[bool, str]:
    """Whether the tests that must notice it do fail; the end of what they said."""
    with planted(mutant if is_planted else None) as environment:
        try:
            ended = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-x",
                    "-p",
                    "no:cacheprovider",
                    "-n0",
                    *mutant.killers,
                ],
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return True, "it hung"
    # 1: tests failed. Anything else is no verdict: nothing collected, a usage error.
    return ended.returncode == 1, ended.stdout[-1500:]


def prove(size: Size) -> Proved:
    """Plant each, and all killers on the engine as it is."""
    chosen = MUTANTS if size == "full" else [named(SHORT)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        verdicts = list(pool.map(killed, chosen))
        sound = list(pool.map(lambda each: killed(each, is_planted=False), _by_killers(chosen)))
    details = []
    for mutant, (dead, said) in zip(chosen, verdicts, strict=True):
        details.append(f"{'killed' if dead else 'SURVIVED'}: {mutant.name}")
        if not dead:
            details.append(said)
    details += [said for dead, said in sound if dead]
    return Proved(
        [
            exactly(
                "mutants killed, of those planted", len(chosen), sum(dead for dead, _ in verdicts)
            ),
            exactly(
                "  sets of killers that fail without a mutant", 0, sum(dead for dead, _ in sound)
            ),
        ],
        details,
    )


def _by_killers(mutants: list[Mutant]) -> list[Mutant]:
    """One mutant for each set of killers."""
    return list({mutant.killers: mutant for mutant in mutants}.values())
