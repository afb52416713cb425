"""Verify a whole ledger in its database: docs/formats/event.md, section 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ledger.database import Connection
from ledger.proof.format.events import Head
from ledger.proof.tlog.trust import Trust
from ledger.verify.ledger_verifier import BY_INDEX, SESSION, LedgerVerifier
from ledger.verify.report import ChainReport
from ledger.verify.trusted_checkpoints import TrustedCheckpoints, Verified

HERE = Path(__file__).parent
EVENTS, HEAD, FIRST_OTHER_LEAF = (
    (HERE / f"{name}.sql").read_bytes() for name in ("events", "head", "first_other_leaf")
)
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Rows between two calls of on_progress.
STRIDE = 10_000


def verify_chain(
    conn: Connection,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    trusted: TrustedCheckpoints | None = None,
) -> ChainReport:
    """Verify the ledger on the search_path of `conn`, in one snapshot and in flat memory.

    `conn` is not in a transaction and may read what ledger_verifier may. `on_progress` gets the number of events
    verified so far and of all events. Step 10 compares the events with all checkpoints of the ledger, whoever signed
    them, and with `trusted`. Whatever is wrong is in the report. Raises psycopg.Error if the ledger cannot be read.
    """
    trusted = trusted or TrustedCheckpoints(Trust())
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION, BY_INDEX)
        head = read_head(conn)
        total = 0 if head is None else head.position

        def tell(done: int) -> None:
            if on_progress is not None:
                on_progress(done, max(done, total))

        trusted.read(conn, head)
        roots = trusted.roots()
        verifier = LedgerVerifier(head)
        for done, (row, _, note) in enumerate(verifier.verify(conn, EVENTS)):
            if done % STRIDE == 0:
                tell(done)
            roots.add(row.position, row.hash)
            if note is not None:
                trusted.add(row.position, note, roots)
        verifier.check_tables(conn)
        origin = None if head is None else head.origin
        covered = trusted.compare(
            Verified(
                roots, origin, verifier.report().last_position, verifier.findings, partial(_first_other_leaf, conn)
            )
        )
    report = replace(verifier.report(), checkpoints=trusted.stored, covered=covered if trusted.trusted.log else None)
    tell(report.events)
    return report


def _first_other_leaf(conn: Connection, after: int, upto: int) -> int | None:
    """The first event after one position, up to another, whose leaf is not the stored one; None if unknown."""
    row = conn.execute(FIRST_OTHER_LEAF, {"after": after, "upto": upto}).fetchone()
    return None if row is None else int(row[0])


def read_head(conn: Connection) -> Head | None:
    """Read the head; None unless there is exactly one, without NULL."""
    rows = conn.execute(HEAD).fetchall()
    return Head(*rows[0]) if len(rows) == 1 and None not in rows[0] else None
