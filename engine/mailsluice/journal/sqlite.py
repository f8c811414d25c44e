"""The embedded journal: one SQLite file, in WAL mode, each commit flushed to the disk.

`synchronous=FULL`: a commit that returned survives a power cut (docs/adr/0002). One process writes;
a lock on the file keeps a second one out. Others may read at any time (`mailsluice status`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from mailsluice.errors import JournalError
from mailsluice.journal import Record, Run, columns

APPLICATION_ID = 0x4D534C43
"""`PRAGMA application_id`: "MSLC", by which a journal is told from other databases."""

SCHEMA_VERSION = 1
"""`PRAGMA user_version`."""

PAGE_BYTES = 8192
"""A settlement of 50 recipients is about 4 KB: two fit a page without overflow."""

BUSY_TIMEOUT_S = 5.0
"""How long a reader waits for a checkpoint of the writer."""

SCHEMA = f"""
PRAGMA page_size = {PAGE_BYTES};
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};

-- The run that this journal belongs to: one row, JSON.
CREATE TABLE run (body BLOB NOT NULL) STRICT;

-- Everything that happened, in the order in which it became durable. Never updated or deleted.
CREATE TABLE record (
    id     INTEGER PRIMARY KEY,
    at     REAL NOT NULL,     -- seconds since the epoch
    kind   TEXT NOT NULL,     -- taken, intent, settlement, resolution, event
    number INTEGER,           -- batch of an intent or settlement; first row of a taken
    rows   BLOB,              -- JSON: rows of an intent or resolution; last row of a taken
    states TEXT,              -- one letter a recipient of a settlement
    body   BLOB               -- JSON: the details
) STRICT;
"""

_INSERT = "INSERT INTO record (at, kind, number, rows, states, body) VALUES (?, ?, ?, ?, ?, ?)"

_ANY_TAKEN = "SELECT 1 FROM record WHERE kind = 'taken' LIMIT 1"

_REPLAY = "SELECT at, kind, number, rows, states, body FROM record ORDER BY id"

# `body` of a taken, resolution or event is small and always needed; that of the rest is skipped.
_REPLAY_BARE = """
SELECT at, kind, number, rows, states,
       CASE WHEN kind IN ('intent', 'settlement') THEN NULL ELSE body END
FROM record ORDER BY id
"""


class SqliteJournal:
    """The journal in one file. Create with `SqliteJournal.open` or `SqliteJournal.read`."""

    blocks = True

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        self._run: Run | None = None

    @classmethod
    def open(cls, path: Path) -> SqliteJournal:
        """Open for writing, as the only writer; make the file where there is none.

        Raises JournalError: another process writes it, it is no journal, it is corrupt, it comes
        from a newer version, or the file cannot be opened.
        """
        lock = _lock(path)
        try:
            with _translated(path):
                journal = cls(path, _connect(path), lock)
                journal._prepare()
                return journal
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def read(cls, path: Path) -> SqliteJournal:
        """Open for reading only, while another process may be writing it.

        Raises JournalError as `open` does, and where there is no such file.
        """
        if not path.is_file():
            raise JournalError(f"{path}: there is no such journal")
        with _translated(path):
            journal = cls(path, _connect(path), None)
            journal._connection.execute("PRAGMA query_only = ON")
            journal._load(path)
            return journal

    @staticmethod
    def is_being_written(path: Path) -> bool:
        """Whether a process has the journal open for writing.

        To be asked before this process opens it: closing any descriptor of a file drops the locks
        that SQLite has on it.
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self._path)

    @property
    def run(self) -> Run | None:
        """The run that it belongs to; None before `begin`."""
        return self._run

    def begin(self, run: Run) -> None:
        """Make it that run's."""
        with _translated(self._path), self._transaction():
            if self._connection.execute(_ANY_TAKEN).fetchone():
                raise JournalError(f"{self.name}: it belongs to a run already")
            self._connection.execute("DELETE FROM run")
            body = columns.encode_run(run)
            self._connection.execute("INSERT INTO run (body) VALUES (?)", (body,))
        self._run = run

    def commit(self, records: Sequence[Record]) -> None:
        """Append records in one transaction; on the disk when it returns."""
        with _translated(self._path), self._transaction():
            self._connection.executemany(_INSERT, map(columns.encode, records))

    def replay(self, *, details: bool) -> Iterator[Record]:
        """All records in the order of commit."""
        with _translated(self._path):
            for row in self._connection.execute(_REPLAY if details else _REPLAY_BARE):
                yield columns.decode(row)

    def close(self) -> None:
        """Close the file, then let the next writer in."""
        with contextlib.suppress(sqlite3.Error):  # everything that matters is committed
            self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self) -> None:
        execute = self._connection.execute
        if execute("PRAGMA schema_version").fetchone()[0] == 0:
            # page_size must be set before the first page is written, WAL mode included.
            self._connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            _sync_folder(self._path)
        else:
            self._load(self._path)
        mode = execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise JournalError(f"{self.name}: SQLite cannot use WAL mode here; use a local disk")
        execute("PRAGMA synchronous = FULL")

    def _load(self, path: Path) -> None:
        """Check that the file is a sound journal of a version that we know, and read its run."""
        execute = self._connection.execute
        application = execute("PRAGMA application_id").fetchone()[0]
        if application != APPLICATION_ID:
            raise JournalError(f"{path}: this is not a mailsluice journal")
        version = execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise JournalError(
                f"{path}: its schema is version {version}, this mailsluice reads version "
                f"{SCHEMA_VERSION}; use the mailsluice that began it"
            )
        problem = execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise JournalError(f"{path}: the file is corrupt ({problem}); restore it from a backup")
        row = execute("SELECT body FROM run").fetchone()
        self._run = columns.decode_run(row[0]) if row else None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
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


def _lock(path: Path) -> int:
    """Open `path` and lock it; the descriptor holds the lock until it is closed.

    SQLite's own locks are of another kind (fcntl) and do not meet this one (flock). The descriptor
    outlives SQLite's, since closing any descriptor of a file drops the process's fcntl locks on it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{path}: the journal cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise JournalError(
            f"{path}: another process is using this journal; wait for it, or give this run "
            "another one with --journal"
        ) from None
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: transactions are ours. The writer calls from changing worker threads, one by one.
    return sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
    )


def _sync_folder(path: Path) -> None:
    """Make the directory entry of a new file durable; SQLite does so for its own files only."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """The one border at which SQLite's errors become ours."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise JournalError(f"{path}: {error} ({name})") from error
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    except (orjson.JSONDecodeError, LookupError, TypeError, ValueError) as error:
        raise JournalError(f"{path}: a record cannot be read: {error}") from error
