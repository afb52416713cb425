"""Write the member `heads` of a bundle: docs/formats/bundle.md, section 11."""

from __future__ import annotations

from time import monotonic, sleep

import orjson
from psycopg import sql

from ledger.database import Connection
from ledger.export.log_parts import fetch_tiles
from ledger.proof.bundle.heads import Heads, Leaf, key_of, other_keys_of
from ledger.proof.bundle.manifest import MAX_HEADS_BYTES
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.merkle import inclusion_proof
from ledger.proof.tlog.tiles import reader
from ledger.store.recorder import Recorder
from ledger.tlog.heads.record import RecordedHeads, newest_heads, record_heads
from ledger.tlog.heads.tree import HeadsTree
from ledger.tlog.serve.newest_checkpoint import newest_size

LAST = sql.SQL("SELECT max(e.position) FROM events e WHERE {which}")
SIGNED_ALONE = "SELECT FROM checkpoints WHERE size = %s"
# The longest time for which an export may hold up appends, so that no event comes between the recorded state and the
# record.
HOLD_S = 0.5
# The pause between two checks for a signature over the record.
LOOK_S = 0.1


def heads_member(conn: Connection, selection: Selection, size: int) -> bytes | None:
    """Return the member for a client or a request; None if the ledger cannot show where its streams end.

    `size` is the checkpoint's. `conn` is in a transaction with one snapshot.
    """
    key, record = key_of(selection), newest_heads(conn, size)
    if key is None or record is None:
        return None
    leaves = []
    for each in (key, *other_keys_of(selection)):
        tree = record.tree(conn, each)
        if tree is None or tree.value is None:
            return None
        leaves.append(_leaf(tree, tree.value))
    inclusion = inclusion_proof(record.event.position - 1, size, reader(size, lambda tiles: fetch_tiles(conn, tiles)))
    data = Heads(record.event, tuple(inclusion), leaves[0], tuple(leaves[1:])).encode()
    return data if len(data) <= MAX_HEADS_BYTES else None


def _leaf(tree: HeadsTree, value: bytes) -> Leaf:
    return Leaf(tuple((name, version) for name, version in orjson.loads(value)), tree.salt, tuple(tree.path))


def record_if_older(
    conn: Connection,
    writer: Connection,
    which: sql.Composed,
    within_s: float,
    recorder: Recorder | None = None,
    *,
    since: int = 0,
) -> int | None:
    """Record where all streams end, unless the newest record covers all selected events and shows their end.

    A record before position `since` does not do: the bundle's checkpoint has to extend one of that size.

    Return the position of the record once a checkpoint covers it, 0 if nothing is selected; None if no checkpoint does
    within the time. `conn` is not in a transaction. Raises psycopg.Error.
    """
    newest = newest_heads(conn)
    (last,) = conn.execute(LAST.format(which=which)).fetchone() or (None,)
    if last is None:
        return 0
    recent = newest is not None and newest.as_of >= last and newest.event.position >= since
    if newest is not None and recent and newest.blinding is not None and _shows_end(conn, newest):
        return newest.event.position if newest_size(conn) >= newest.event.position else None
    position, until_s = record_heads(conn, writer, newest, recorder, HOLD_S), monotonic() + within_s
    while newest_size(conn) < position:
        if monotonic() >= until_s:
            return None
        sleep(LOOK_S)
    return position


def _shows_end(conn: Connection, record: RecordedHeads) -> bool:
    """Return True if no event is between the recorded state and the end of a checkpoint, or if no checkpoint covers it
    yet."""
    if newest_size(conn) < record.event.position:
        return True
    row = conn.execute(SIGNED_ALONE, [record.event.position]).fetchone()
    return row is not None and record.as_of == record.event.position - 1
