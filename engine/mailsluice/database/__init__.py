"""A SQLite file that several processes share: feedback, suppressions.

A journal is one run's and has one writer (`journal/`). These files outlive runs, and every
process of a host may write them, one transaction at a time. What they have in common with journals:
WAL mode and `synchronous=FULL`, so that a commit that returned survives a power cut (ADR 2); mode
0600, because they hold personal data; and a new file appears whole or not at all, so that an empty
one is never taken for a new one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mailsluice.model.errors import StoreError

PAGE_BYTES = 4096

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for other writers, whose transactions take milliseconds."""

_REMEDIES = (
    ("SQLITE_BUSY", "; another program has locked it: end that one, and run again"),
    ("SQLITE_FULL", "; free some space, and run again"),
    ("SQLITE_IOERR", "; the disk fails to store it: mend that, and run again"),
    ("SQLITE_CORRUPT", "; restore it from a copy"),
    ("SQLITE_NOTADB", "; this is another file: name the right one"),
    ("SQLITE_CANTOPEN", "; make it and its folder readable and writable, and run again"),
    ("SQLITE_READONLY", "; make it and its folder writable, and run again"),
)


class Database:
    """One connection. For one thread at a time, in the process that has opened it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._process = os.getpid()

    @classmethod
    def open(cls, path: Path, application_id: int, schema: str, what: str) -> Database:
        """Open the file; create it if it is missing.

        `application_id` and the schema's `user_version` tell it from other files; `what` names it
        in messages. Raises StoreError.
        """
        with translated(path):
            path = path.resolve()  # SQLite keeps its log beside the file, and not beside a link
            if not path.exists():
                _make(path, application_id, schema)
            elif not path.stat().st_size:
                raise StoreError(
                    f"{path}: the file is empty, which {what} never is: restore it, or remove it "
                    "to begin anew"
                )
            connection = _connect(path)
            try:
                _check(path, connection, application_id, schema, what)
            except BaseException:
                connection.close()
                raise
        return cls(path, connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all that happens in the context, or nothing; on the disk when the context ends."""
        self._require_ours()
        with translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # After a failed COMMIT (disk full, fsync error) SQLite has rolled back already.
                if self._connection.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one moment: writers change nothing that is read in the context."""
        self._require_ours()
        with translated(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def read(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Return the rows of a query."""
        self._require_ours()
        with translated(self.path):
            yield from self._connection.execute(sql, values)

    def data_version(self) -> int:
        """Return a number that changes when another connection, of any process, has committed."""
        self._require_ours()
        with translated(self.path):
            found: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            return found

    def close(self) -> None:
        """Close it. Safe to call twice."""
        if self._process == os.getpid():
            with contextlib.suppress(sqlite3.Error):  # everything that matters is committed
                self._connection.close()

    def _require_ours(self) -> None:
        if self._process != os.getpid():
            raise StoreError(
                f"{self.path}: the process that this one was forked from has it open; open it in "
                "the process that uses it"
            )


def _make(path: Path, application_id: int, schema: str) -> None:
    def fill(new: Path) -> None:
        with contextlib.closing(_connect(new)) as connection:
            connection.executescript(
                f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;"
                f"PRAGMA application_id = {application_id}; {schema} COMMIT;"
            )

    appear(path, fill)


def appear(path: Path, fill: Callable[[Path], object]) -> None:
    """Create a file, mode 0600, that appears whole or not at all; `fill` writes it.

    An existing file stays as it is. Raises StoreError.
    """
    if not path.parent.is_dir():
        raise StoreError(f"{path}: there is no such folder; make it, or mend the path")
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.new-", dir=path.parent)  # 0600
    try:
        os.close(descriptor)
        fill(Path(name))
        _sync(Path(name))
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.link(name, path)
        _sync(path.parent)
    finally:
        Path(name).unlink()


def _check(
    path: Path, connection: sqlite3.Connection, application_id: int, schema: str, what: str
) -> None:
    def pragma(name: str) -> int:
        found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
        return found

    if pragma("application_id") != application_id:
        raise StoreError(f"{path}: this is not {what} of mailsluice; name the right file")
    version = pragma("user_version")
    if f"PRAGMA user_version = {version};" not in schema:
        raise StoreError(
            f"{path}: its schema is version {version}, which this mailsluice does not know; use "
            "the mailsluice that made it"
        )
    connection.execute("PRAGMA synchronous = FULL")


def _connect(path: Path) -> sqlite3.Connection:
    # Autocommit: transactions are ours. Calls come from changing worker threads, one by one.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_S,
        uri=True,
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of files into StoreErrors."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        remedy = next((text for known, text in _REMEDIES if name.startswith(known)), "")
        raise StoreError(f"{path}: {error} ({name}){remedy}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
