"""Record where all streams end, and read that again: docs/formats/bundle.md, section 11."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Any

from psycopg import sql

from ledger.database import Connection
from ledger.proof.bundle.heads import recorded_tree
from ledger.proof.format.events import EventLine
from ledger.proof.format.hashes import HASH_BYTES
from ledger.store.copy import copy_rows
from ledger.store.envelope import Actor, NewEvent, encode, stamped, uuid7
from ledger.store.head import read_head
from ledger.tlog.heads.tree import Entry, HeadsTree, build
from schema.events import StreamHeadsRecorded

HERE = Path(__file__).parent
HEADS, NEWEST = sql.SQL((HERE / "heads.sql").read_text("utf-8")), (HERE / "newest.sql").read_text("utf-8")
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
SESSION = "SELECT set_config('jit', 'off', true), set_config('statement_timeout', '0', true)"
APPEND = "SELECT position FROM append(%s)"

# The two columns of a row of heads.sql. Before each stand 4 bytes, its length, and before the first 2, their number.
KEY, VALUE = slice(6, 6 + HASH_BYTES), slice(10 + HASH_BYTES, None)

STREAM = "stream-heads"
ACTOR = Actor(id="advice-ledger", kind="service", role="signer")
EVERYTHING = 2**63 - 1


@dataclass(frozen=True)
class RecordedHeads:
    """A record of stream heads. `as_of` is 0 if it is no such event; `blinding` is None if it was erased."""

    event: EventLine
    as_of: int
    root: bytes
    blinding: bytes | None

    def tree(self, conn: Connection, wanted: bytes) -> HeadsTree | None:
        """Build its tree again, from a snapshot of the database; None if that has another root by now."""
        if self.blinding is None or not self.as_of:
            return None
        tree = build(_entries(conn, self.as_of), self.blinding, wanted)
        return tree if tree.root == self.root else None


def newest_heads(conn: Connection, size: int = EVERYTHING) -> RecordedHeads | None:
    """Return the newest record that a checkpoint of this size covers; None if there is none."""
    row: Any = conn.execute(NEWEST, {"stream": STREAM, "size": size}).fetchone()
    if row is None:
        return None
    position, version, time_us, prev_hash, digest, body, blinding = row
    event = EventLine(position, version, time_us, bytes(prev_hash), bytes(digest), body.encode(), b"", b"", ())
    as_of, root = recorded_tree(event) or (0, b"")
    return RecordedHeads(event, as_of, root, None if blinding is None else bytes.fromhex(blinding))


def record_heads(conn: Connection, writer: Connection, last: RecordedHeads | None) -> int:
    """Record where all streams end now; return the position of the event. `last` is the newest record.

    `conn` has the role verifier and is not in a transaction. Raises psycopg.Error, also if another process has just
    recorded the same.
    """
    blinding = secrets.token_bytes(HASH_BYTES)
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION)
        head = read_head(conn)
        assert head is not None
        tree = build(_entries(conn, head.position), blinding)
    event = StreamHeadsRecorded(as_of=head.position, root=tree.root.hex(), blinding=blinding.hex())
    new = NewEvent(uuid7(), STREAM, event, ACTOR, "no_stream" if last is None else last.event.version)
    row = writer.execute(APPEND, [stamped([encode(new)], time_ns() // 1000)]).fetchone()
    return int(row[0]) if row else 0


def _entries(conn: Connection, as_of: int) -> Iterator[Entry]:
    statement = HEADS.format(as_of=sql.Literal(as_of)).as_bytes(conn)
    for row in copy_rows(conn, statement):
        yield row[KEY], row[VALUE]
