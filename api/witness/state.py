"""What a witness remembers: for each log the largest tree that it cosigned. Compare and update in one transaction.

On disk before the cosignature leaves. A state belongs to one key, and is never made by itself: a witness that has
forgotten what it saw would cosign another history.

    StateError               the state cannot be used; the message says why
    ├── NoState              there is none
    ├── OtherKey             it is another witness's
    └── StateUnavailable     the disk or the database fails, or it is no state
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote

# Of refused notes that a log signed, so many of the first and so many of the newest are kept, for each log and reason:
# anybody who sends honest notes with wrong proofs could push out a real one if it were the newest alone.
KEPT_EACH = 50
BUSY_S = 5.0


class StateError(Exception):
    """The state cannot be used."""


class NoState(StateError):
    """There is no state."""


class OtherKey(StateError):
    """The state is another witness's."""


class StateUnavailable(StateError):
    """The state cannot be read or written at present, or is none."""


class Seen(NamedTuple):
    """The largest tree of a log that was cosigned; `note` is what the log signed, `at_s` the cosignature's time."""

    size: int
    root: bytes
    note: bytes
    at_s: int


class Kept(NamedTuple):
    """A note that a log signed and that does not fit what was seen of it: for a person to look at."""

    origin: str
    reason: str
    note: bytes
    at: str


# Given what was seen of a log, what is seen from now on; or an exception, and nothing changes.
Decide = Callable[[Seen | None], Seen]


class State(Protocol):
    """What a witness needs of its state; in a file here, in PostgreSQL in state_postgres.py. Safe for threads."""

    def move(self, origin: str, decide: Decide) -> None:
        """Replaces what was seen of a log by what `decide` makes of it, durably, with nobody in between."""

    def keep(self, origin: str, reason: str, text: str, note: bytes) -> None:
        """Keeps a refused note, one with the same text once; the first and the newest KEPT_EACH of a log and reason."""

    def seen(self) -> dict[str, Seen]:
        """What was seen, by origin."""

    def kept(self) -> list[Kept]:
        """The refused notes, the oldest first."""

    def close(self) -> None:
        """Lets go of it."""


MAKE = """
CREATE TABLE witness_key (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), key TEXT NOT NULL);
CREATE TABLE witness_seen (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL, at_s INTEGER NOT NULL
);
CREATE TABLE witness_kept (
    digest BLOB PRIMARY KEY, origin TEXT NOT NULL, reason TEXT NOT NULL, note BLOB NOT NULL, at TEXT NOT NULL
);
"""
SEEN = "SELECT size, root, note, at_s FROM witness_seen WHERE origin = ?"
SET = "INSERT OR REPLACE INTO witness_seen (origin, size, root, note, at_s) VALUES (?, ?, ?, ?, ?)"
KEEP = "INSERT OR IGNORE INTO witness_kept (digest, origin, reason, note, at) VALUES (?, ?, ?, ?, ?)"
FORGET = """
    DELETE FROM witness_kept WHERE origin = ?1 AND reason = ?2
    AND rowid NOT IN (SELECT rowid FROM witness_kept WHERE origin = ?1 AND reason = ?2 ORDER BY rowid LIMIT ?3)
    AND rowid NOT IN (SELECT rowid FROM witness_kept WHERE origin = ?1 AND reason = ?2 ORDER BY rowid DESC LIMIT ?3)
"""
ALL_SEEN = "SELECT origin, size, root, note, at_s FROM witness_seen ORDER BY origin"
ALL_KEPT = "SELECT origin, reason, note, at FROM witness_kept ORDER BY rowid"


def make_file(path: Path, key: str) -> None:
    """A new state for the witness with this verifier key. Raises StateUnavailable where there is a file already."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise StateUnavailable(f"{path} is there already, and a state is never written over") from error
    except OSError as error:
        raise StateUnavailable(f"{path}: {error.strerror}") from error
    with contextlib.closing(_open(path)) as conn, _failing(path):
        conn.execute("PRAGMA journal_mode = WAL")
        conn.executescript(MAKE)
        conn.execute("INSERT INTO witness_key VALUES (1, ?)", [key])


class FileState:
    """In a SQLite file. `key` is the witness's verifier key. Raises StateError."""

    def __init__(self, path: Path, key: str) -> None:
        if not path.exists():
            raise NoState(
                f"there is no state at {path}. If it is lost, retire the key: advice-ledger witness keygen makes a new"
                " one, with a new state"
            )
        self._path = path
        self._lock = threading.Lock()
        self._conn = _open(path)
        with _failing(path):
            found = self._conn.execute("SELECT key FROM witness_key").fetchone()
        if found != (key,):
            self._conn.close()
            raise OtherKey(f"{path} is the state of another witness than this key's")

    def move(self, origin: str, decide: Decide) -> None:
        """See State."""
        with self._transaction() as conn:
            row = conn.execute(SEEN, [origin]).fetchone()
            conn.execute(SET, [origin, *decide(None if row is None else Seen(*row))])

    def keep(self, origin: str, reason: str, text: str, note: bytes) -> None:
        """See State."""
        with self._transaction() as conn:
            conn.execute(KEEP, [sha256(text.encode()).digest(), origin, reason, note, now()])
            conn.execute(FORGET, [origin, reason, KEPT_EACH])

    def seen(self) -> dict[str, Seen]:
        """See State."""
        with self._transaction() as conn:
            return {origin: Seen(*row) for origin, *row in conn.execute(ALL_SEEN)}

    def kept(self) -> list[Kept]:
        """See State."""
        with self._transaction() as conn:
            return [Kept(*row) for row in conn.execute(ALL_KEPT)]

    def close(self) -> None:
        """See State."""
        with self._lock:
            self._conn.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Alone with the file, other processes included; what raises within rolls back."""
        with self._lock, _failing(self._path):
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                yield self._conn
                self._conn.execute("COMMIT")
            finally:
                if self._conn.in_transaction:
                    self._conn.execute("ROLLBACK")


def now() -> str:
    """The time, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _open(path: Path) -> sqlite3.Connection:
    with _failing(path):
        where = f"file:{quote(str(path.absolute()))}?mode=rw"
        conn = sqlite3.connect(where, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        # With WAL, FULL syncs at each commit; the default of some builds does not.
        conn.execute("PRAGMA synchronous = FULL")
    return conn


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateUnavailable(f"{path}: {error}") from error
