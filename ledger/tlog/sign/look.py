"""Check the database before anything is signed: its head, and the attestations of new events."""

from __future__ import annotations

from ledger.database import Connection
from ledger.store.attested import first_fault
from ledger.store.head import read_head
from ledger.tlog.sign.errors import NotAttested, Rewritten


def head_of(conn: Connection) -> tuple[str, int]:
    """Return the ledger's name and the position of its last event. Raises Rewritten if the ledger has no head."""
    head = read_head(conn)
    if head is None or None in {head.origin, head.position}:
        raise Rewritten("the ledger's head is gone: somebody deleted it (docs/operate/tlog.md, Restoring)")
    return head.origin, head.position


def attested_upto(conn: Connection, origin: str, after: int, upto: int) -> int:
    """Return the position up to which registered recording keys attest the new events.

    Raises NotAttested if they attest none.
    """
    fault = first_fault(conn, origin, after, upto)
    if fault is None:
        return upto
    if fault.first > after + 1:
        return fault.first - 1
    raise NotAttested(
        f"position {max(fault.first, after + 1)} ({fault.kind}): {fault.message}: somebody else than the programs with"
        " a recording key wrote to the database (docs/operate/recording-keys.md)"
    )
