"""Verify a whole ledger in its database: docs/formats/event.md, section 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ledger.database import Connection
from ledger.proof.format.events import Head
from ledger.proof.tlog.trust import Trust
from ledger.store.attested import attested_faults, first_fault, unattested
from ledger.store.snapshot import SNAPSHOT
from ledger.verify.helpers import Helpers
from ledger.verify.ledger_verifier import BY_INDEX, EVENTS, SESSION, LedgerVerifier, between
from ledger.verify.report import ChainReport
from ledger.verify.since import Start, start
from ledger.verify.stored_tiles import StoredTiles
from ledger.verify.stream_heads import HeadsChecked, check_heads, unchecked_heads
from ledger.verify.trusted_checkpoints import TrustedCheckpoints, Verified

HERE = Path(__file__).parent
HEAD, FIRST_OTHER_LEAF = ((HERE / f"{name}.sql").read_bytes() for name in ("head", "first_other_leaf"))
# The number of rows between two calls of on_progress.
STRIDE = 10_000


def verify_chain(
    conn: Connection,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    trusted: TrustedCheckpoints | None = None,
    helpers: Helpers | None = None,
    attested_from: int | None = None,
) -> ChainReport:
    """Verify the ledger on the search_path of `conn`, in one snapshot and in flat memory.

    `helpers` are processes that verify parts of the chain, up to the first odd one. The report is the same. `conn` is
    not in a transaction and may read what ledger_verifier may. `on_progress` gets the numbers of events verified so far
    and of all. Step 10 compares the events with all checkpoints of the ledger, whoever signed them, with `trusted`, and
    with the stored tiles. If `trusted` has a checkpoint to begin behind whose tree is stored, only the events behind it
    are read. From `attested_from` on each event must be attested. Raises psycopg.Error if the ledger cannot be read.
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
        tiles = StoredTiles(conn)
        roots = trusted.roots(tiles)
        verifier = LedgerVerifier(head)
        begin = start(conn, trusted.judged, head)
        if begin is not None:
            begin.at(verifier, roots, tiles)
        for done in () if helpers is None else helpers.verify(conn, verifier, total, roots, trusted):
            tell(done)
        before = verifier.position  # without helpers, also check events at or before position 0
        events = EVENTS.format(**between(before or None)).as_bytes(conn)
        for done, (row, _, note) in enumerate(verifier.verify(conn, events), before):
            if done % STRIDE == 0:
                tell(done)
            roots.add(row.position, row.hash)
            if note is not None:
                trusted.add(row.position, note, roots)
        roots.finish()
        verifier.check_tables(conn)
        origin, last = None if head is None else head.origin, verifier.report().last_position
        covered = trusted.compare(Verified(roots, origin, last, verifier.findings, partial(_first_other_leaf, conn)))
        tiles.compare(conn, last, verifier.findings)
        heads = _check_recorded(conn, verifier, head, begin, attested_from)
    report = replace(
        verifier.report(),
        checkpoints=trusted.stored,
        tiles=tiles.count,
        heads=heads,
        covered=covered if trusted.trusted.log else None,
    )
    tell(report.events)
    return report


def _check_recorded(
    conn: Connection, verifier: LedgerVerifier, head: Head | None, begin: Start | None, attested_from: int | None
) -> HeadsChecked:
    """Check the attestations and the stream heads.

    A verification that began behind earlier events checks only the attestations of new ones.
    """
    last = verifier.report().last_position
    if attested_from is not None:
        verifier.check_attested(unattested(conn, attested_from, last))
    if begin is not None:
        fault = None if head is None else first_fault(conn, head.origin, begin.after, last)
        verifier.check_attested([] if fault is None else [fault])
        return unchecked_heads(conn)
    if head is not None:
        verifier.check_attested(attested_faults(conn, head.origin, last))
    return check_heads(conn, last, erased=bool(verifier.report().erased), findings=verifier.findings)


def _first_other_leaf(conn: Connection, after: int, upto: int) -> int | None:
    """Return the first position in (after, upto] whose leaf differs from the stored one; None if unknown."""
    row = conn.execute(FIRST_OTHER_LEAF, {"after": after, "upto": upto}).fetchone()
    return None if row is None else int(row[0])


def read_head(conn: Connection) -> Head | None:
    """Read the head; None unless there is exactly one, without NULL."""
    rows = conn.execute(HEAD).fetchall()
    return Head(*rows[0]) if len(rows) == 1 and None not in rows[0] else None
