"""Decisions that wait for a confirmation and can no longer get it."""

from __future__ import annotations

from pathlib import Path

from ledger.database import Connection

OVERDUE = Path(__file__).with_name("overdue.sql").read_bytes()


def overdue(conn: Connection) -> list[int]:
    """Return the ids of decisions whose time to be confirmed is over, the longest overdue first.

    The read model may be behind: whether a decision has expired is judged from its stream, when that is recorded.
    """
    return [int(row[0]) for row in conn.execute(OVERDUE).fetchall()]
