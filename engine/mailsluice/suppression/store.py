"""`suppressions.db`: the truth about whom not to mail, shared by all processes of a host.

A suppression is durable when `add` returns. Whoever sends asks `refresh` before each batch, which
costs microseconds, and is told the hashes that have changed since: by then it knows of everything
that any process has added.

Beside the file lie its key (`keys`) and its index (`index`). Looking up an address costs a hash and
a look into the index; only what is found there, or among the changes since the index was made, is
looked up in the database. With `keep="hash"` no address is ever written.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Literal, NamedTuple

from mailsluice.database import Database
from mailsluice.model.errors import StoreError
from mailsluice.suppression import index, keys
from mailsluice.suppression.index import Index, Version
from mailsluice.suppression.scopes import Reason, Suppression, applies, is_scope

APPLICATION_ID = 0x4D535350
"""`PRAGMA application_id`: "MSSP"."""

CHANGES_LEAST = 10_000
CHANGES_SHARE = 100
"""The index is made anew once so many have changed, or this part of all: a tail stays small."""

SCHEMA = """
PRAGMA user_version = 1;

CREATE TABLE store (
    key_check BLOB NOT NULL,
    trimmed   INTEGER NOT NULL      -- changes below this number are forgotten
) STRICT;

CREATE TABLE entry (
    hash    INTEGER NOT NULL,
    scope   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    address TEXT,                   -- NULL if only the hash is kept
    at      INTEGER NOT NULL,       -- whole seconds since the epoch
    source  TEXT NOT NULL,
    expires INTEGER,
    PRIMARY KEY (hash, scope)
) STRICT, WITHOUT ROWID;

-- Soft bounces since the last delivery: one for each mail.
CREATE TABLE soft (
    hash INTEGER NOT NULL,
    mail INTEGER NOT NULL,          -- hash of its MessageId: copies of an event count once
    at   INTEGER NOT NULL,
    PRIMARY KEY (hash, mail)
) STRICT, WITHOUT ROWID;

-- What is known of SES's own list: one row, and the addresses that were put there.
CREATE TABLE synced (until REAL NOT NULL) STRICT;
CREATE TABLE pushed (hash INTEGER PRIMARY KEY) STRICT;

-- What was added or removed, in that order: what an index does not know yet.
CREATE TABLE change (
    no    INTEGER PRIMARY KEY AUTOINCREMENT,
    hash  INTEGER NOT NULL,
    nonce INTEGER NOT NULL          -- tells a change from the one of that number in another copy
) STRICT;
"""

# An address that was forgotten stays forgotten.
_ADD = """
INSERT INTO entry (hash, scope, reason, address, at, source, expires) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    reason = CASE WHEN expires <= excluded.at THEN excluded.reason ELSE reason END,
    source = CASE WHEN expires <= excluded.at THEN excluded.source ELSE source END,
    at = CASE WHEN expires <= excluded.at THEN excluded.at ELSE min(at, excluded.at) END,
    expires = CASE WHEN expires IS NULL OR excluded.expires IS NULL THEN NULL
                   ELSE max(expires, excluded.expires) END
"""

_FIRST = "INSERT INTO store (key_check, trimmed) VALUES (x'{key_check}', 1);"

_STANDING = "SELECT trimmed, (SELECT ifnull(max(no), 0) FROM change) FROM store"

_COLUMNS = "address, reason, scope, at, source, expires"


class SoftBounce(NamedTuple):
    """A mail that was not delivered, to an address that may work."""

    address: str
    mail: str
    """Its MessageId."""
    at: float


class Suppressions:
    """A store that is open. For one thread at a time; any number of processes may have it open."""

    def __init__(
        self, database: Database, derived: keys.Keys, index_path: Path, *, keeps_addresses: bool
    ) -> None:
        self._database = database
        self._keys = derived
        self._index_path = index_path
        self._keeps_addresses = keeps_addresses
        self._index: Index | None = None
        self._changed: set[int] = set()
        """Hashes that were added or removed since the index was made."""
        self._seen = 0
        """The last change that is known."""
        self._told = 0
        """The last change of which `refresh` has told."""
        self._data_version = -1
        self._has_written = True
        """Since the last `refresh`; the data version tells of the commits of others alone."""
        self._trims = False

    @classmethod
    def open(cls, path: Path, keep: Literal["address", "hash"] = "address") -> Suppressions:
        """Open it, and make it and its key if there is none. Raises StoreError."""
        path = path.resolve()
        key_path = Path(f"{path}.key")
        derived = keys.read(key_path) if path.exists() else keys.made(key_path)
        first = _FIRST.format(key_check=derived.check.hex())
        database = Database.open(path, APPLICATION_ID, SCHEMA + first, "a suppression store")
        store = cls(database, derived, Path(f"{path}.index"), keeps_addresses=keep == "address")
        try:
            store._begin(key_path)
        except BaseException:
            store.close()
            raise
        return store

    def _begin(self, key_path: Path) -> None:
        [(check,)] = self._database.read("SELECT key_check FROM store")
        if check != self._keys.check:
            raise StoreError(f"{key_path}: it is another store's key; restore the right one")
        list(self._database.read("PRAGMA secure_delete = ON"))  # for `forget`
        self.refresh()

    @property
    def keys(self) -> keys.Keys:
        """The keys, for links."""
        return self._keys

    def close(self) -> None:
        """Close the store. Safe to call twice."""
        if self._index is not None:
            self._index.close()
            self._index = None
        self._database.close()

    def add(self, suppressions: Iterable[Suppression]) -> int:
        """Suppress addresses; durable on return. How many are new. Raises StoreError.

        One that is there already stays as it is; of two that expire, the later time counts. Large
        lists are best added half a million at once: a small part of one touches as many pages.
        """
        return self._add([self._row(each) for each in suppressions])

    def add_hash(self, digest: int, scope: str, at: float, source: str = "") -> int:
        """Suppress an address of which a link to unsubscribe gives only the hash."""
        return self._add([(digest, scope, Reason.UNSUBSCRIBE, None, int(at), source, None)])

    def _add(self, rows: Sequence[tuple[Any, ...]]) -> int:
        for row in rows:
            if not is_scope(row[1]):
                raise StoreError(
                    f"{row[1]!r} cannot be a scope: give 1 to 64 of A-Z a-z 0-9 . _ - and no other"
                )
        rows = sorted(rows, key=itemgetter(0))  # each page of the table is touched once
        with self._database.transaction() as connection:
            known = _known(connection, rows)
            connection.executemany(_ADD, rows)
            _note(connection, [row[0] for row in rows])
        self._has_written = True
        return len({row[:2] for row in rows} - known)

    def _row(self, suppression: Suppression) -> tuple[Any, ...]:
        address, reason, scope, at, source, expires = suppression
        if address is None:
            raise StoreError("a suppression without an address cannot be added by it")
        return (
            self._keys.hash(address),
            scope,
            reason,
            address if self._keeps_addresses else None,
            int(at),
            source,
            None if expires is None else int(expires),
        )

    def note_soft(
        self,
        bounces: Sequence[SoftBounce],
        delivered: Iterable[tuple[str, float]],
        after: int,
    ) -> list[tuple[str, float]]:
        """Count soft bounces; a delivery ends the row of those before it.

        Return the addresses that have `after` of them by now, and since when. Copies of a bounce
        count once. Raises StoreError.
        """
        hash_ = self._keys.hash
        by_hash = {hash_(each.address): each for each in bounces}
        rows = [
            (self._keys.hash(each.address), self._keys.hash(each.mail), int(each.at))
            for each in bounces
        ]
        ends = [(hash_(address), int(at)) for address, at in delivered]
        with self._database.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO soft VALUES (?, ?, ?)", rows)
            connection.executemany("DELETE FROM soft WHERE hash = ? AND at <= ?", ends)
            return [
                (each.address, each.at)
                for digest, each in by_hash.items()
                if _soft_bounces(connection, digest) >= after
            ]

    def remove(self, address: str, scope: str | None = None) -> int:
        """Let an address be mailed again, in one scope or (None) in all; how many are gone."""
        digest = self._keys.hash(address)
        with self._database.transaction() as connection:
            gone = connection.execute(
                "DELETE FROM entry WHERE hash = ? AND scope = ifnull(?, scope)", (digest, scope)
            ).rowcount
            _note(connection, [digest] * bool(gone))
            connection.execute("DELETE FROM soft WHERE hash = ?", (digest,))
        self._has_written = True
        return gone

    def forget(self, address: str) -> int:
        """Erase an address from the files and keep it suppressed by its hash; how many entries."""
        with self._database.transaction() as connection:
            changed = connection.execute(
                "UPDATE entry SET address = NULL WHERE hash = ? AND address IS NOT NULL",
                (self._keys.hash(address),),
            ).rowcount
        # The log still has the page as it was.
        [(busy, _, _)] = self._database.read("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise StoreError(
                f"{self._database.path}: another process is reading it, so that the address is "
                "still in the log beside it; run this again"
            )
        return changed

    def synced_until(self) -> float | None:
        """Return when SES's list was read last, to its end; None if it never was."""
        return next((until for (until,) in self._database.read("SELECT until FROM synced")), None)

    def note_synced(self, until: float) -> None:
        """Note that SES's list has been read to its end; `until` is when that began."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM synced")
            connection.execute("INSERT INTO synced VALUES (?)", (until,))

    def is_pushed(self, address: str) -> bool:
        """Return True if an address was put on SES's list."""
        digest = self._keys.hash(address)
        return bool(list(self._database.read("SELECT 1 FROM pushed WHERE hash = ?", digest)))

    def note_pushed(self, address: str) -> None:
        """Note that an address was put on SES's list."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO pushed VALUES (?)", (self._keys.hash(address),)
            )

    def forget_pushed(self, address: str) -> None:
        """Note that an address is not on SES's list."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM pushed WHERE hash = ?", (self._keys.hash(address),))

    def entries(self, address: str | None = None) -> Iterator[Suppression]:
        """All suppressions, of one address or (None) of everybody."""
        rows = (
            self._database.read(f"SELECT {_COLUMNS} FROM entry")  # noqa: S608  # ours
            if address is None
            else self._database.read(
                f"SELECT {_COLUMNS} FROM entry WHERE hash = ?",  # noqa: S608  # ours
                self._keys.hash(address),
            )
        )
        for kept, reason, *rest in rows:
            yield Suppression(kept, Reason(reason), *rest)

    def find(self, address: str, to: str | None, now: float) -> Suppression | None:
        """Return what keeps mail to this address back, as of the last `refresh`; None if nothing.

        `to`: the kind of mailing; None: transactional mail.
        """
        digest = self._keys.hash(address)
        if digest not in self._changed and (self._index is None or digest not in self._index):
            return None
        rows = self._database.read(
            f"SELECT {_COLUMNS} FROM entry WHERE hash = ? AND ifnull(expires, ?) > ?",  # noqa: S608
            digest,
            now + 1,
            now,
        )
        found = [Suppression(kept, Reason(reason), *rest) for kept, reason, *rest in rows]
        return next((each for each in found if applies(each.scope, to)), None)

    def hash(self, address: str) -> int:
        """Return the hash by which `refresh` names an address."""
        return self._keys.hash(address)

    @property
    def is_stale(self) -> bool:
        """True if anything may have changed since the last `refresh`; takes microseconds."""
        return self._has_written or self._database.data_version() != self._data_version

    def refresh(self) -> frozenset[int] | None:
        """Take notice of what any process has changed since the last time: those hashes.

        None: so much that everybody is to be looked at again. To be asked before each batch. It
        takes some microseconds if nothing has changed, and, in the process that is the first to see
        that 1 % have, about a second for each million addresses.
        """
        if not self.is_stale:
            return frozenset()
        version, before = self._database.data_version(), self._told
        with self._database.snapshot():
            [(trimmed, last)] = self._database.read(_STANDING)
            if self._is_behind(trimmed, last):
                self._load_index()
            if self._is_behind(trimmed, last):
                self._make_index()
            self._changed.update(self._since(self._seen))
            self._seen = last
            is_much = before < trimmed - 1 or last - before > CHANGES_LEAST
            news = None if is_much else frozenset(self._since(before))
        self._data_version, self._has_written, self._told = version, False, last
        if self._trims:
            self._trim()
        return news

    def _is_behind(self, trimmed: int, last: int) -> bool:
        """Return True if the index is too old: later changes are forgotten, or too many."""
        most = max(CHANGES_LEAST, len(self._index or ()) // CHANGES_SHARE)
        return self._seen < trimmed - 1 or len(self._changed) + last - self._seen > most

    def _since(self, change: int) -> Iterator[int]:
        for (digest,) in self._database.read("SELECT hash FROM change WHERE no > ?", change):
            yield digest

    def _load_index(self) -> None:
        """Use the index in the file, if it is one of this store's past that is remembered."""
        found = index.opened(self._index_path)
        if found is None:
            return
        known = self._database.read(
            "SELECT 1 FROM change WHERE no = ? AND nonce = ?", *found.version
        )
        if list(known):
            self._use(found)
        else:
            found.close()

    def _make_index(self) -> None:
        version = Version(0, 0)
        for newest in self._database.read("SELECT no, nonce FROM change ORDER BY no DESC LIMIT 1"):
            version = Version(*newest)
        hashes = self._database.read("SELECT DISTINCT hash FROM entry ORDER BY hash")
        index.write(self._index_path, version, (digest for (digest,) in hashes))
        made = index.opened(self._index_path)
        if made is None:
            raise StoreError(
                f"{self._index_path}: it is not what was written; the disk is at fault"
            )
        self._use(made)
        self._trims = True

    def _use(self, found: Index) -> None:
        if self._index is not None:
            self._index.close()
        self._index, self._changed, self._seen = found, set(), found.version.change

    def _trim(self) -> None:
        """Forget changes that the index has; its own last one stays, to know it by."""
        assert self._index is not None
        self._trims = False
        change = self._index.version.change
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM change WHERE no < ?", (change,))
            connection.execute("UPDATE store SET trimmed = max(trimmed, ?)", (change,))


def _known(connection: Connection, rows: Iterable[tuple[Any, ...]]) -> set[tuple[int, str]]:
    """Which of these are there already, by hash and scope."""
    sql = "SELECT 1 FROM entry WHERE hash = ? AND scope = ?"
    return {row[:2] for row in rows if connection.execute(sql, row[:2]).fetchone()}


def _soft_bounces(connection: Connection, digest: int) -> int:
    found: int = connection.execute(
        "SELECT count(*) FROM soft WHERE hash = ?", (digest,)
    ).fetchone()[0]
    return found


def _note(connection: Connection, hashes: Sequence[int]) -> None:
    nonce = secrets.randbits(63)
    connection.executemany(
        "INSERT INTO change (hash, nonce) VALUES (?, ?)", [(digest, nonce) for digest in hashes]
    )
