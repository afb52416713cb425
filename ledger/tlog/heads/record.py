"""Record where all streams end, and read these records: docs/formats/bundle.md, section 11."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from psycopg import sql

from ledger.database import AsyncConnection, Connection
from ledger.proof.bundle.heads import recorded_tree, stream_key
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventLine
from ledger.proof.format.hashes import HASH_BYTES
from ledger.store.copy import copy_rows
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import append_now
from ledger.store.head import read_head
from ledger.store.recorder import Recorder
from ledger.store.snapshot import SNAPSHOT
from ledger.tlog.heads.tree import Entry, HeadsTree, build
from schema.events import StreamHeadsRecorded

HERE = Path(__file__).parent
HEADS, NEWEST = sql.SQL((HERE / "heads.sql").read_text("utf-8")), (HERE / "newest.sql").read_text("utf-8")
WAITING = (HERE / "waiting.sql").read_bytes()
NEWEST_POSITION = "SELECT position FROM events WHERE stream = %s ORDER BY version DESC LIMIT 1"
SESSION = "SELECT set_config('statement_timeout', '0', true)"

# The two columns of a row of heads.sql: each after its length in 4 bytes, the first also after the number of columns
# in 2.
KEY, VALUE = slice(6, 6 + HASH_BYTES), slice(10 + HASH_BYTES, None)

STREAM = "stream-heads"
ACTOR = Actor(id="advice-ledger", kind="service", role="signer")
EVERYTHING = 2**63 - 1


@dataclass(frozen=True)
class RecordedHeads:
    """A record of stream heads. `as_of` is 0 if the event is not a valid one; `blinding` is None if it was erased."""

    event: EventLine
    as_of: int
    root: bytes
    blinding: bytes | None

    def tree(self, conn: Connection, wanted: bytes | None = None) -> HeadsTree | None:
        """Build the record's tree again, from a snapshot of the database; None if the tree has another root."""
        if self.blinding is None or not self.as_of:
            return None
        tree = self.built(conn, wanted)
        return tree if tree.root == self.root else None

    def built(self, conn: Connection, wanted: bytes | None = None) -> HeadsTree:
        """Build the tree that the record should have. The record must have its blinding and a position."""
        assert self.blinding is not None
        return build(_entries(conn, self.as_of), self.blinding, wanted)


def newest_heads(conn: Connection, size: int = EVERYTHING) -> RecordedHeads | None:
    """Return the newest record that a checkpoint of this size covers; None without one."""
    row: Any = conn.execute(NEWEST, {"stream": STREAM, "size": size}).fetchone()
    if row is None:
        return None
    position, version, time_us, prev_hash, digest, body, blinding = row
    event = EventLine(position, version, time_us, bytes(prev_hash), bytes(digest), body.encode(), b"", b"", ())
    as_of, root = recorded_tree(event) or (0, b"")
    return RecordedHeads(event, as_of, root, None if blinding is None else bytes.fromhex(blinding))


def waiting_for_heads(conn: Connection) -> float:
    """Return for how many seconds the oldest event after the newest record has waited for the next record; 0 without
    one."""
    row = conn.execute(WAITING, [STREAM]).fetchone()
    return 0.0 if row is None else float(row[0])


async def waiting_for_heads_async(conn: AsyncConnection) -> float:
    """Do the same as `waiting_for_heads`."""
    row = await (await conn.execute(WAITING, [STREAM], prepare=True)).fetchone()
    return 0.0 if row is None else float(row[0])


def newest_position(conn: Connection) -> int:
    """Return the position of the newest record; 0 without one."""
    row = conn.execute(NEWEST_POSITION, [STREAM]).fetchone()
    return 0 if row is None else int(row[0])


def record_heads(
    conn: Connection,
    writer: Connection,
    last: RecordedHeads | None,
    recorder: Recorder | None,
    hold_s: float = 0.0,
) -> int:
    """Record where all streams end now; return the position of the event. `last` is the newest record.

    Others may append between `as_of` and the record. In that case, if the tree took at most `hold_s` to build, it is
    built and recorded once more while appends wait, so that no event is in between.

    `conn` has the role verifier and is not in a transaction. Raises psycopg.Error, also if another process has just
    recorded the same.
    """
    began_s, version = monotonic(), 0 if last is None else last.event.version
    event = _event_at_head(conn, 0)
    took_s = monotonic() - began_s
    with writer.transaction():
        position = append_now(writer, _new(event, version), recorder)
        if position == event.as_of + 1 or took_s > hold_s:
            return position
        # This transaction holds the head until it commits. `conn` sees everything before the record that was just
        # made.
        return append_now(writer, _new(_event_at_head(conn, version + 1), version + 1), recorder)


def _new(event: StreamHeadsRecorded, version: int) -> NewEvent:
    return NewEvent(uuid7(), STREAM, event, ACTOR, version or "no_stream")


def _event_at_head(conn: Connection, own_version: int) -> StreamHeadsRecorded:
    """Build the tree as of now. With `own_version`, it includes the record that comes next, which has that version."""
    blinding = secrets.token_bytes(HASH_BYTES)
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION)
        head = read_head(conn)
        assert head is not None
        entries = _entries(conn, head.position)
        tree = build(_with_own(entries, own_version) if own_version else entries, blinding)
    as_of = head.position + (1 if own_version else 0)
    return StreamHeadsRecorded(as_of=as_of, root=tree.root.hex(), blinding=blinding.hex())


def _with_own(entries: Iterable[Entry], version: int) -> Iterator[Entry]:
    """Yield the entries, in order of their keys, with this version for the stream of records."""
    own = stream_key(STREAM), canonical([[STREAM, version]])
    waiting = True
    for entry in entries:
        if waiting and entry[0] >= own[0]:
            yield own
            waiting = False
        if entry[0] != own[0]:
            yield entry
    if waiting:
        yield own


def _entries(conn: Connection, as_of: int) -> Iterator[Entry]:
    statement = HEADS.format(as_of=sql.Literal(as_of)).as_bytes(conn)
    for row in copy_rows(conn, statement):
        yield row[KEY], row[VALUE]
