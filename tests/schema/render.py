"""A ledger's schema as text, the same for the same schema on every version of PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from ledger.database import Connection

SNAPSHOT_QUERY = Path(__file__).with_name("snapshot.sql").read_text("utf-8")


def render(conn: Connection) -> str:
    """A line for each thing in the schema `ledger`, in the order of the alphabet."""
    rows = conn.execute(SNAPSHOT_QUERY, {"schema": "ledger"}).fetchall()
    return "".join(sorted(f"{row[0]}\n" for row in rows))
