"""Reading read models in the request path: as they are now, or as of a position.

Both are the same SELECT; `source` is the table or the fold. What a caller may filter by is one table, `FILTERS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ledger.errors import InvalidEvent, Unavailable
from projections.engine import ONE_CLIENT, ONE_STREAM, UP_TO, Projection

AsyncConnection = psycopg.AsyncConnection[Any]

FILTERS: dict[str, sql.SQL] = {
    "id": sql.SQL("model.id = %(id)s"),
    "ids": sql.SQL("model.id = ANY (%(ids)s)"),
    "before_id": sql.SQL("model.id < %(before_id)s"),
    "client_id": sql.SQL("model.client_id = %(client_id)s"),
    "request_id": sql.SQL("model.request_id = %(request_id)s"),
    "status": sql.SQL("model.status = %(status)s"),
    "risk_profile": sql.SQL("model.risk_profile = %(risk_profile)s"),
    "model_name": sql.SQL("model.model_name = %(model_name)s"),
    "created_from": sql.SQL("model.created_at >= %(created_from)s"),
    "created_to": sql.SQL("model.created_at < %(created_to)s"),
}

POSITIONS = "SELECT h.position, p.position, p.error FROM head h LEFT JOIN projections p ON p.name = %s"
POSITION_AT = "SELECT position_at(%s)"
POLL_S = (0.001, 0.02)


@dataclass(frozen=True)
class Moment:
    """Which state is read: `position` None is the current one."""

    position: int | None = None
    stream: str | None = None


async def caught_up(conn: AsyncConnection, read_model: Projection, *, patience_s: float) -> None:
    """Waits until the read model has all that was recorded when this was called. Raises Unavailable when it does not."""
    target: int | None = None
    pause_s, latest = POLL_S
    deadline = monotonic() + patience_s
    while True:
        row = await (await conn.execute(POSITIONS, [read_model.name], prepare=True)).fetchone()
        if row is None:
            raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
        head, position, error = row
        target = head if target is None else target
        if position is not None and position >= target and error is None:
            return
        if error is not None or monotonic() > deadline:
            raise Unavailable(
                f"the read model {read_model.name} is behind; see /readyz, or ask with consistency=eventual"
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, latest)


async def resolve(conn: AsyncConnection, as_of: int | datetime) -> int:
    """The position that `as_of` means. Raises InvalidEvent for a position that is not there yet."""
    if isinstance(as_of, datetime):
        row = await (await conn.execute(POSITION_AT, [as_of], prepare=True)).fetchone()
        return int(row[0]) if row else 0
    row = await (await conn.execute("SELECT position FROM head", prepare=True)).fetchone()
    if row is None or as_of > row[0]:
        raise InvalidEvent("as_of", "the ledger has no such position yet")
    return as_of


async def stream_at(conn: AsyncConnection, position: int) -> str | None:
    """The stream of the event at this position, or None."""
    row = await (
        await conn.execute("SELECT stream FROM events WHERE position = %s", [position], prepare=True)
    ).fetchone()
    return None if row is None else str(row[0])


async def rows(
    conn: AsyncConnection, read_model: Projection, filters: Mapping[str, object], *, moment: Moment, limit: int
) -> list[dict[str, Any]]:
    """At most `limit` rows that match all `filters` (names of FILTERS), the newest id first."""
    given = {**filters, "limit": limit, "upto": moment.position, "stream": moment.stream}
    conditions = sql.SQL(" AND ").join([sql.SQL("true"), *(FILTERS[name] for name in filters)])
    query = sql.SQL("SELECT model.* FROM ({}) model WHERE {} ORDER BY model.id DESC LIMIT %(limit)s").format(
        _source(read_model, filters, moment), conditions
    )
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, given, prepare=moment.position is None)
        found = await cursor.fetchall()
    for row in found:
        del row["stream"]
    return found


def _source(read_model: Projection, filters: Mapping[str, object], moment: Moment) -> sql.Composable:
    if moment.position is None:
        return sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))
    if moment.stream is not None:
        return read_model.rows(ONE_STREAM)
    return read_model.rows(ONE_CLIENT if "client_id" in filters else UP_TO)
