"""The member `heads` of a bundle: docs/formats/bundle.md, section 11."""

from __future__ import annotations

from time import monotonic, sleep

import orjson
from psycopg import sql

from ledger.database import Connection
from ledger.export.log_parts import fetch_tiles
from ledger.proof.bundle.heads import Heads, key_of
from ledger.proof.bundle.manifest import MAX_HEADS_BYTES, Selection
from ledger.proof.tlog.merkle import inclusion_proof
from ledger.proof.tlog.tiles import reader
from ledger.tlog.heads.record import newest_heads, record_heads
from ledger.tlog.serve.newest_checkpoint import newest_size

LAST = sql.SQL("SELECT max(e.position) FROM events e WHERE {which}")
# How often to look whether the record was signed.
LOOK_S = 0.1


def heads_member(conn: Connection, selection: Selection, size: int) -> bytes | None:
    """Return the member for a client or a request; None if the ledger cannot show where its streams end.

    `size` is that of the checkpoint. `conn` is in a transaction with one snapshot.
    """
    key, record = key_of(selection), newest_heads(conn, size)
    tree = None if key is None or record is None else record.tree(conn, key)
    if record is None or tree is None or tree.value is None:
        return None
    inclusion = inclusion_proof(record.event.position - 1, size, reader(size, lambda tiles: fetch_tiles(conn, tiles)))
    streams = tuple((name, version) for name, version in orjson.loads(tree.value))
    data = Heads(record.event, tuple(inclusion), streams, tree.salt, tuple(tree.path)).encode()
    return data if len(data) <= MAX_HEADS_BYTES else None


def record_if_older(conn: Connection, writer: Connection, which: sql.Composed, within_s: float) -> bool:
    """Record where all streams end if the newest record is older than the last of the selected events.

    Return whether a checkpoint covers the record, for which this waits. `conn` is not in a transaction. Raises
    psycopg.Error.
    """
    newest = newest_heads(conn)
    (last,) = conn.execute(LAST.format(which=which)).fetchone() or (None,)
    if last is None:
        return True
    if newest is not None and newest.as_of >= last and newest.blinding is not None:
        return newest_size(conn) >= newest.event.position
    position, until_s = record_heads(conn, writer, newest), monotonic() + within_s
    while newest_size(conn) < position:
        if monotonic() >= until_s:
            return False
        sleep(LOOK_S)
    return True
