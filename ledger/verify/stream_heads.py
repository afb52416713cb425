"""Build the trees of recorded stream heads again: part of step 9 of docs/formats/event.md, section 5."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.database import Connection
from ledger.proof.findings import CHAIN, Findings, Kind
from ledger.tlog.heads.record import RecordedHeads, newest_heads

# Findings that explain a different tree: the events or the index of clients have changed since the record.
EXPLAINED_BY = CHAIN.kinds(1, 9)
# Each record has its own secret, so each tree is built from all streams. The cost of a tree is one for each event, for
# its index entry, and LEAF_COST for each leaf. Trees are built from the newest to older ones until they cost
# MOST_COST, or ROUNDS readings of the ledger.
LEAF_COST = 10
MOST_COST = 1_000_000
ROUNDS = 6


@dataclass(frozen=True)
class HeadsChecked:
    """Count the records of stream heads whose trees were built again, from the newest on, and all records."""

    built: int = 0
    records: int = 0

    @property
    def not_proven(self) -> tuple[str, ...]:
        """Return the claim that the older records leave unproven."""
        if self.built == self.records:
            return ()
        few = f"the newest {self.built} of {self.records} were computed again"
        return (f"that records of where streams ended were true when they were made: {few}",)


def check_heads(conn: Connection, last: int, *, erased: bool, findings: Findings) -> HeadsChecked:
    """Add a finding for each false record, unless other findings explain it. Raises psycopg.Error.

    `conn` is in a transaction with one snapshot, and `last` is the last position. A tree cannot be built without its
    blinding. It also cannot be built if anything was erased, because the place of an erased client among the clients
    is erased as well.
    """
    record = newest_heads(conn)
    if record is None:
        return HeadsChecked()
    records, built, cost = record.event.version, 0, 0
    if erased or findings.any(*EXPLAINED_BY):
        return HeadsChecked(0, records)
    most = max(MOST_COST, ROUNDS * last)
    while record is not None and record.blinding is not None and (not built or cost < most):
        cost += last + LEAF_COST * _check(conn, record, findings)
        built += 1
        record = newest_heads(conn, record.event.position - 1)
    return HeadsChecked(built, records)


def unchecked_heads(conn: Connection) -> HeadsChecked:
    """Return the number of records, none of which is computed again, as that takes all streams.

    Raises psycopg.Error.
    """
    record = newest_heads(conn)
    return HeadsChecked(0, 0 if record is None else record.event.version)


def _check(conn: Connection, record: RecordedHeads, findings: Findings) -> int:
    """Build one tree; return the number of its leaves."""
    if not record.as_of:
        message = "an event of the stream of records is no record of where streams end"
        findings.add(Kind.HEADS_MISMATCH, record.event.position, message)
        return 0
    tree = record.built(conn)
    if tree.root != record.root:
        message = f"the record of where streams ended by position {record.as_of} is not what the events show"
        findings.add(Kind.HEADS_MISMATCH, record.event.position, message)
    return tree.leaves
