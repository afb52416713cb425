"""Read who accessed data of clients, for commands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import Connection
from projections.accesses.model import ACCESSES

LIST = sql.SQL("SELECT model.* FROM accesses model WHERE {} ORDER BY model.id DESC LIMIT %(limit)s")
COUNTS = "SELECT * FROM access_counts LIMIT %(limit)s"


def list_accesses(conn: Connection, filters: Mapping[str, object], limit: int) -> list[dict[str, Any]]:
    """Return the newest accesses that match all filters of the read model."""
    conditions = [sql.SQL("true"), *(ACCESSES.filters[name].condition for name in filters)]
    query = LIST.format(sql.SQL(" AND ").join(conditions))
    with conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query, {**filters, "limit": limit}).fetchall()
    for row in rows:
        del row["stream"]
    return rows


def count_accesses(conn: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the numbers of accesses by subject, role and day, the newest day first."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(COUNTS, {"limit": limit}).fetchall()
