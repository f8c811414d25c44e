"""The embedded journal: one SQLite file, in WAL mode, each commit flushed to the disk.

`synchronous=FULL`: a commit that returned survives a power cut (docs/adr/0002). One process writes;
a lock on the file keeps a second one out. Others may read at any time (`mailsluice status`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import orjson

from mailsluice.journal import Record, Resolution, RunHeader, columns, file, lock, schema, seal, wal
from mailsluice.journal.check import PagesCheck
from mailsluice.model import State
from mailsluice.model.bitmap import Bitmap
from mailsluice.model.errors import JournalError
from mailsluice.model.shown import numbered, shown

BUSY_TIMEOUT_S = 5.0
"""How long a reader waits for a checkpoint of the writer."""

_DETAILED = {"intent", "settlement"}
"""Kinds whose `body` is details only, not needed for `Standing`."""

_RESTORE = (
    "restore it, with its log, from a copy made after the last send: an older one does not know "
    "what was sent since, and would send it again"
)

_CHANGED = (
    "{path}: {what} is not what was written (checksum): the disk or another program has changed "
    f"it; {_RESTORE}"
)


_EMPTY = (
    "{path}: the file is empty, which a journal never is: it has lost its content, or is something "
    "else; restore it, or remove it to begin a new run that sends to everybody"
)


_NO_JOURNAL = (
    "this is not a journal: name the one that `send` has written, which is MAILING.journal beside "
    f"MAILING.toml; if this was one, {_RESTORE}"
)

_REMEDIES = (
    ("SQLITE_BUSY", "; another program has locked it: end that one, and run again"),
    ("SQLITE_FULL", "; free some space, and run again"),
    ("SQLITE_IOERR", "; the disk fails to store it: mend that, and run again"),
    ("SQLITE_CORRUPT", f"; {_RESTORE}"),
    ("SQLITE_NOTADB", f"; {_NO_JOURNAL}"),
    (
        "SQLITE_CANTOPEN",
        "; copy it, with its -wal, to a folder that can be written, and look there",
    ),
    ("SQLITE_READONLY", "; make it and its folder writable, and run again"),
)


class SqliteJournal:
    """The journal in one file. Create with `SqliteJournal.open` or `SqliteJournal.read`."""

    blocks = True

    def __init__(self, path: Path, connection: sqlite3.Connection, opening: lock.Opening) -> None:
        self._path = path
        self._connection = connection
        self._opening = opening
        self._run: RunHeader | None = None
        self._check: PagesCheck | None = None
        """A reader's check of the pages; a writer checks before it begins."""
        self._last_id = 0
        self._last_seal = 0
        self._replay = schema.REPLAY

    @classmethod
    def open(cls, path: Path) -> SqliteJournal:
        """Open for writing, as the only writer; create the file if it is missing.

        Raises JournalError: another process writes it, it is no journal, it is corrupt, it comes
        from a newer version, or the file cannot be opened.
        """
        with _translated(path):
            path = file.located(path)
            if not path.exists():
                file.make(path, _write_schema)
            opening = lock.to_write(path)
        try:
            with _translated(path):
                _check_log(path, opening)
                journal = cls(path, _connect(path), opening)
        except BaseException:
            opening.release()
            raise
        return journal._ready(journal._prepare)

    @classmethod
    def read(cls, path: Path) -> SqliteJournal:
        """Open for reading only, while another process may be writing it.

        Raises JournalError as `open` does, and if there is no such file.
        """
        if not path.is_file():
            raise JournalError(f"{path}: there is no such journal")
        with _translated(path):
            path = file.located(path)
            opening = lock.to_read(path)
        try:
            with _translated(path):
                if not opening.written:
                    _check_log(path, opening)
                journal = cls(path, _connect_to_read(path), opening)
        except BaseException:
            opening.release()
            raise
        return journal._ready(journal._load)

    def __repr__(self) -> str:
        run = f"run {self._run.id}" if self._run else "no run"
        return shown(self, self.name, run, numbered(self._last_id, "records"))

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    @property
    def run(self) -> RunHeader | None:
        """The run of this journal; None before `begin`."""
        return self._run

    def begin(self, run: RunHeader) -> None:
        """Bind the journal to `run`."""
        with _translated(self._path), self._transaction():
            if self._connection.execute(schema.ANY_TAKEN).fetchone():
                raise JournalError(f"{self.name}: it belongs to a run already")
            self._connection.execute(schema.FORGET_RUN)
            body = columns.encode_run(run)
            self._connection.execute(schema.INSERT_RUN, (body, seal.of_bytes(body)))
        self._run = run

    def commit(self, records: Sequence[Record]) -> None:
        """Append records in one transaction; on the disk when it returns."""
        last_id, last_seal = self._last_id, self._last_seal
        rows = []
        for record in records:
            last_id += 1
            row = columns.encode(record)
            body_seal = seal.of_bytes(row[-1] or b"")
            last_seal = seal.of_record(last_id, row, body_seal, last_seal)
            rows.append((last_id, *row, body_seal, last_seal))
        with _translated(self._path), self._transaction():
            self._connection.executemany(schema.INSERT, rows)
        self._last_id, self._last_seal = last_id, last_seal

    def replay(self, *, details: bool) -> Iterator[Record]:
        """Yield all records in the order of commit."""
        with _translated(self._path):
            last_id = last_seal = 0
            for id_, *rest, body_seal, record_seal in self._connection.execute(self._replay):
                row: columns.Columns = tuple(rest)
                last_id, last_seal = last_id + 1, seal.of_record(id_, row, body_seal, last_seal)
                whole = seal.of_bytes(row[-1] or b"") == body_seal
                if not (whole and id_ == last_id and record_seal == last_seal):
                    raise JournalError(_CHANGED.format(path=self._path, what=f"record {last_id}"))
                spared = not details and row[1] in _DETAILED
                yield columns.decode((*row[:-1], None) if spared else row)
            if self._check is not None:
                self._require_sound(self._check.result())

    def reopened(self) -> tuple[int, Bitmap]:
        """See `Journal.reopened`."""
        rows = Bitmap()
        with _translated(self._path):
            size, _ = self._connection.execute(schema.LAST_RECORD).fetchone() or (0, 0)
            for row in self._connection.execute(schema.RESOLUTIONS, (size,)):
                record = columns.decode(row)
                if isinstance(record, Resolution) and record.state is State.PENDING:
                    rows.add(record.seqs)
        return size, rows

    def _require_sound(self, problem: str) -> None:
        if problem != "ok":
            raise JournalError(f"{self._path}: the file is corrupt ({problem}); {_RESTORE}")

    def close(self) -> None:
        """Close the file, then let the next writer in."""
        if self._check is not None:
            self._check.close()
        self._opening.let_go()
        with contextlib.suppress(sqlite3.Error):  # everything that matters is committed
            self._connection.close()
        self._opening.release()

    def _ready(self, make_ready: Callable[[], None]) -> Self:
        """Return the journal ready for use; close it if that fails."""
        try:
            with _translated(self._path):
                make_ready()
        except BaseException:
            self.close()
            raise
        return self

    def _prepare(self) -> None:
        _require_same_file(self._connection, self._opening.descriptor)
        self._load()
        execute = self._connection.execute
        mode = execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(f"{self.name}: SQLite cannot use WAL mode here; use a local disk")
        execute("PRAGMA synchronous = FULL")
        if self._replay == schema.REPLAY_4:
            self._connection.executescript(schema.UPGRADE)
            self._replay = schema.REPLAY
        self._opening.hold()

    def _load(self) -> None:
        """Check that the file is a sound journal of a version that we know, and read its run."""
        path = self._path
        if not self._opening.writes:
            self._connection.execute("PRAGMA query_only = ON")
        execute = self._connection.execute
        application = execute("PRAGMA application_id").fetchone()[0]
        if application != schema.APPLICATION_ID:
            raise JournalError(f"{path}: this is not a mailsluice journal")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version not in {schema.SCHEMA_VERSION, schema.UPGRADED_VERSION}:
            raise JournalError(
                f"{path}: its schema is version {version}, this mailsluice reads version "
                f"{schema.SCHEMA_VERSION}; use the mailsluice that began it"
            )
        if not self._opening.writes:
            self._check = PagesCheck(lambda: _connect_to_read(path))
        else:
            self._require_sound(execute(schema.CHECK_PAGES).fetchone()[0])
        if version == schema.UPGRADED_VERSION:
            self._replay = schema.REPLAY_4
        row = execute(schema.READ_RUN).fetchone()
        if row and seal.of_bytes(row[0]) != row[1]:
            raise JournalError(_CHANGED.format(path=path, what="the head"))
        self._run = columns.decode_run(row[0]) if row else None
        self._last_id, self._last_seal = execute(schema.LAST_RECORD).fetchone() or (0, 0)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        if not self._opening.ours:
            raise JournalError(
                f"{self.name}: the process that this one was forked from has it open; an engine is "
                "to be opened in the process that uses it"
            )
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # After a failed COMMIT (disk full, fsync error) SQLite has rolled back already.
            if self._connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
            raise


def _check_log(path: Path, opening: lock.Opening) -> None:
    log = Path(f"{path}-wal")
    if not path.stat().st_size:
        raise JournalError(_EMPTY.format(path=path))
    if not file.has_log(path):
        return
    if wal.is_disowned(opening.head(wal.HEAD_BYTES)):
        raise JournalError(f"{path}: its head is damaged: it knows nothing of its log; {_RESTORE}")
    if wal.is_damaged(log, schema.PAGE_BYTES):
        raise JournalError(
            f"{log}: it is damaged: commits follow a place that cannot be read; {_RESTORE}"
        )


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if file.has_log(path):
        # A log that a crash left is the next writer's to put away: it stays as it is.
        return _connect(path, "mode=ro")
    if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK):
        # It leaves no files behind, as one that cannot write does.
        return _connect(path, "mode=rw")
    return _connect(path, "mode=ro&immutable=1")


def _connect(path: Path, how: str = "mode=rw") -> sqlite3.Connection:
    # Autocommit: transactions are ours. The writer calls from changing worker threads, one by one.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_S,
        uri=True,
    )


def _write_schema(path: Path, locked: int) -> None:
    with contextlib.closing(_connect(path)) as connection:
        _require_same_file(connection, locked)
        connection.executescript(schema.SCHEMA)


def _require_same_file(connection: sqlite3.Connection, locked: int) -> None:
    """Raise JournalError if SQLite, which opens by name, would open another file."""
    name = connection.execute("PRAGMA database_list").fetchone()[2]
    if not os.path.samestat(os.lstat(name), os.fstat(locked)):
        raise JournalError(f"{name}: another file has been put in the journal's place; {_RESTORE}")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into JournalErrors."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        remedy = next((text for known, text in _REMEDIES if name.startswith(known)), "")
        raise JournalError(f"{path}: {error} ({name}){remedy}") from error
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
        raise JournalError(f"{path}: a record cannot be read: {error}") from error
