"""Verify a whole ledger in its database: docs/formats/event.md, section 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ledger.database import Connection
from ledger.proof.format.events import Head
from ledger.verify.ledger_verifier import BY_INDEX, SESSION, LedgerVerifier
from ledger.verify.report import ChainReport
from ledger.verify.trusted_checkpoints import Roots, TrustedCheckpoints

HERE = Path(__file__).parent
EVENTS, HEAD = ((HERE / f"{name}.sql").read_bytes() for name in ("events", "head"))
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
    verified so far and of all events. With `trusted`, step 10 compares the events with these checkpoints and with those
    of the ledger. Whatever is wrong is in the report. Raises psycopg.Error if the ledger cannot be read.
    """
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION, BY_INDEX)
        head = read_head(conn)
        total = 0 if head is None else head.position

        def tell(done: int) -> None:
            if on_progress is not None:
                on_progress(done, max(done, total))

        if trusted is not None:
            trusted.read(conn, None if head is None else head.origin)
        roots = Roots(()) if trusted is None else trusted.roots()
        verifier = LedgerVerifier(head)
        for done, row in enumerate(verifier.verify(conn, EVENTS)):
            if done % STRIDE == 0:
                tell(done)
            roots.add(row.position, row.hash)
        verifier.check_tables(conn)
    report = verifier.report()
    if trusted is not None:
        covered = trusted.compare(roots, report.origin, report.last_position, verifier.findings)
        report = replace(verifier.report(), covered=covered)
    tell(report.events)
    return report


def read_head(conn: Connection) -> Head | None:
    """Read the head; None unless there is exactly one, without NULL."""
    rows = conn.execute(HEAD).fetchall()
    return Head(*rows[0]) if len(rows) == 1 and None not in rows[0] else None
