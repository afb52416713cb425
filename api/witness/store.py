"""Keep the state of a witness in a SQLite file: for each log the largest tree that it cosigned.

The state is on disk before a cosignature leaves, and compared and updated in one transaction. It belongs to one key,
and only `make_store()` creates it: a witness that had forgotten what it saw would cosign another history.

    StoreError               the state cannot be used; the message says why
    ├── NoStore              there is no file
    ├── OtherKey             the state belongs to another witness
    └── StoreUnavailable     the disk fails, or the file holds no state
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

# For each log and reason, this many of the first refused notes are kept, and as many of the newest. If only the newest
# were kept, anybody could push out a note that proves a split, by sending honest notes with wrong proofs.
KEPT_EACH = 50
BUSY_S = 5.0

HERE = Path(__file__).parent
MAKE, FORGET = ((HERE / f"{name}.sql").read_text("utf-8") for name in ("make_store", "forget_refused"))
SEEN = "SELECT size, root, note, at_s FROM witness_seen WHERE origin = ?"
SET = "INSERT OR REPLACE INTO witness_seen (origin, size, root, note, at_s) VALUES (?, ?, ?, ?, ?)"
# A note of a tree that was cosigned meanwhile, asked with a right proof by another caller, is not kept.
KEEP = """
    INSERT INTO witness_kept (digest, origin, reason, note, at) SELECT ?1, ?2, ?3, ?4, ?5
    WHERE NOT EXISTS (SELECT 1 FROM witness_seen WHERE origin = ?2 AND note = ?4)
    ON CONFLICT (digest) DO UPDATE SET reason = excluded.reason
"""
RELEASE = "DELETE FROM witness_kept WHERE digest = ?"
ALL_SEEN = "SELECT origin, size, root, note, at_s FROM witness_seen ORDER BY origin"
ALL_KEPT = "SELECT origin, reason, note, at FROM witness_kept ORDER BY rowid"


class StoreError(Exception):
    """The state cannot be used."""


class NoStore(StoreError):
    """The file does not exist."""


class OtherKey(StoreError):
    """The state belongs to another witness."""


class StoreUnavailable(StoreError):
    """The state cannot be read or written at present, or the file holds no state."""


class Seen(NamedTuple):
    """The largest tree of a log that was cosigned, with the log's signed note, and the time of the cosignature."""

    size: int
    root: bytes
    note: bytes
    at_s: int


class RefusedNote(NamedTuple):
    """A note that a log signed and that does not fit the trees seen before. A person should look at it."""

    origin: str
    reason: str
    note: bytes
    at: str


# Returns the tree to remember, given the tree seen last; or raises, and nothing changes.
Decide = Callable[[Seen | None], Seen]


def make_store(path: Path, key: str) -> None:
    """Create the state of the witness with this verifier key. Raises StoreUnavailable if the file exists."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        raise StoreUnavailable(f"{path} exists, and a state is never overwritten") from error
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from error
    try:
        with contextlib.closing(_open(path)) as conn, _failing(path):
            conn.execute("PRAGMA journal_mode = WAL")
            conn.executescript(MAKE)
            conn.execute("INSERT INTO witness_key VALUES (1, ?)", [key])
    except StoreUnavailable:
        path.unlink()
        raise


class WitnessStore:
    """The open state of the witness with the verifier key `key`. Safe for threads and processes. Raises StoreError."""

    def __init__(self, path: Path, key: str, *, clock: Callable[[], float] = time.time) -> None:
        if not path.exists():
            raise NoStore(
                f"there is no state at {path}. If it is lost, retire the key: advice-ledger witness keygen makes a new"
                " one, with a new state"
            )
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._conn = _open(path)
        with _failing(path):
            row = self._conn.execute("SELECT key FROM witness_key").fetchone()
        if row != (key,):
            self._conn.close()
            raise OtherKey(f"{path} is the state of another witness than this key's")

    def advance(self, origin: str, decide: Decide) -> None:
        """Replace the tree seen of a log by what `decide` returns, durably, in one transaction.

        If this tree was refused before, with a wrong proof, it is now shown to fit: its note is no longer kept.
        """
        with self._transaction() as conn:
            row = conn.execute(SEEN, [origin]).fetchone()
            fits = decide(None if row is None else Seen(*row))
            conn.execute(SET, [origin, *fits])
            conn.execute(RELEASE, [_text_digest(fits.note)])

    def keep_refused(self, origin: str, reason: str, note: bytes) -> None:
        """Keep a refused note. If one with the same text is kept already, only its reason changes."""
        with self._transaction() as conn:
            kept_at = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
            conn.execute(KEEP, [_text_digest(note), origin, reason, note, kept_at])
            conn.execute(FORGET, [origin, reason, KEPT_EACH])

    def seen(self) -> dict[str, Seen]:
        """Return the tree seen last of each log, by origin."""
        with self._transaction() as conn:
            return {origin: Seen(*row) for origin, *row in conn.execute(ALL_SEEN)}

    def refused_notes(self) -> list[RefusedNote]:
        """Return the refused notes, the oldest first."""
        with self._transaction() as conn:
            return [RefusedNote(*row) for row in conn.execute(ALL_KEPT)]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._conn.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Lock the file against other threads and processes. An exception rolls back."""
        with self._lock, _failing(self._path):
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                yield self._conn
                self._conn.execute("COMMIT")
            finally:
                if self._conn.in_transaction:
                    self._conn.execute("ROLLBACK")


def _text_digest(note: bytes) -> bytes:
    """Return the SHA-256 of what was signed. The signatures may differ."""
    return sha256(note.rpartition(b"\n\n")[0] + b"\n").digest()


def _open(path: Path) -> sqlite3.Connection:
    with _failing(path):
        uri = f"file:{quote(str(path.absolute()))}?mode=rw"
        conn = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        # With WAL, FULL syncs at each commit; the default of some builds does not.
        conn.execute("PRAGMA synchronous = FULL")
    return conn


@contextlib.contextmanager
def _failing(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from error
