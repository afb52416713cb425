"""Begin a transaction that reads one snapshot of the recorded tables, also while a scrub swaps them.

The locks come before the snapshot. A snapshot from before a swap would not see the rows of the new table, and the
reader would report them as missing. A swap waits for the end of the transaction (docs/operate/scrub.md).
"""

from __future__ import annotations

from psycopg import sql

ISOLATION = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# The tables that a scrub swaps (ledger/erasure/rewrite.py).
SWAPPED = "sealed_fields, stream_clients"
SNAPSHOT = f"{ISOLATION}; LOCK TABLE {SWAPPED} IN ACCESS SHARE MODE"


def snapshot_of(table: str) -> sql.Composed:
    """Return the SQL that begins a transaction that reads only this read model, which a rebuild swaps."""
    lock = sql.SQL("{}; LOCK TABLE {} IN ACCESS SHARE MODE")
    return lock.format(sql.SQL(ISOLATION), sql.Identifier(table))


def snapshot_with(table: str) -> sql.Composed:
    """Return the SQL that begins a transaction that also reads this read model, which a rebuild swaps."""
    lock = sql.SQL("{}; LOCK TABLE {}, {} IN ACCESS SHARE MODE")
    return lock.format(sql.SQL(ISOLATION), sql.Identifier(table), sql.SQL(SWAPPED))
