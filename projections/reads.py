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
from projections.engine import FEW_STREAMS, ONE_CLIENT, ONE_STREAM, TOUCHED, Projection

AsyncConnection = psycopg.AsyncConnection[Any]

FILTERS: dict[str, sql.SQL] = {
    "id": sql.SQL("model.id = %(id)s"),
    "ids": sql.SQL("model.id = ANY (%(ids)s)"),
    "from_id": sql.SQL("model.id >= %(from_id)s"),
    "before_id": sql.SQL("model.id < %(before_id)s"),
    "client_id": sql.SQL("model.client_id = %(client_id)s"),
    "request_id": sql.SQL("model.request_id = %(request_id)s"),
    "status": sql.SQL("model.status = %(status)s"),
    "risk_profile": sql.SQL("model.risk_profile = %(risk_profile)s"),
    "model_name": sql.SQL("model.model_name = %(model_name)s"),
    "created_from": sql.SQL("model.created_at >= %(created_from)s"),
    "created_to": sql.SQL("model.created_at < %(created_to)s"),
}
# What a later event may change; the rest of a row stays as it was when the row came to be.
CHANGING = frozenset({"status"})
ALL_COLUMNS = sql.SQL("model.*")
STREAM_AND_ID = sql.SQL("model.stream, model.id")
WINDOW_ROWS = 500
MAX_WINDOW_ROWS = 20_000

POSITIONS = "SELECT h.position, p.position, p.error FROM head h LEFT JOIN projections p ON p.name = %s"
POSITION_AT = "SELECT position_at(%s)"
POLL_S = (0.001, 0.02)


@dataclass(frozen=True)
class Moment:
    """Which state is read: `position` None is the current one."""

    position: int | None = None
    stream: str | None = None


async def caught_up(conn: AsyncConnection, read_model: Projection, *, patience_s: float) -> None:
    """Waits until the read model has all that was recorded when this was called; raises Unavailable where it fails."""
    target: int | None = None
    pause_s, latest = POLL_S
    deadline = monotonic() + patience_s
    while True:
        row = await (await conn.execute(POSITIONS, [read_model.name], prepare=True)).fetchone()
        if row is None:
            raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
        head, position, error = row
        target = head if target is None else target
        if position is not None and position > head:
            raise Unavailable(f"the read model {read_model.name} is beyond the last event: run advice-ledger rebuild")
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
    given = {**filters, "upto": moment.position, "stream": moment.stream}
    if moment.position is None:
        found = await _select(conn, _table(read_model), filters, given, limit)
    else:
        async with conn.transaction():
            await conn.execute(FEW_STREAMS, prepare=False)
            if moment.stream is not None:
                found = await _select(conn, read_model.rows(ONE_STREAM), filters, given, limit)
            elif "client_id" in filters:
                found = await _select(conn, read_model.rows(ONE_CLIENT), filters, given, limit)
            else:
                found = await _windows(conn, read_model, filters, moment.position, limit)
    for row in found:
        del row["stream"]
    return found


def _table(read_model: Projection) -> sql.Composed:
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))


async def _windows(
    conn: AsyncConnection, read_model: Projection, filters: Mapping[str, object], upto: int, limit: int
) -> list[dict[str, Any]]:
    """Rows as of a position, whoever the client: folds the streams of the newest ids first, until there are enough.

    Rows never vanish and keep their ids, so the current table says which streams may hold the next ids. The windows
    grow: a filter that nothing matches costs about as much as folding everything once.
    """
    lasting = {name: value for name, value in filters.items() if name not in CHANGING}
    found: list[dict[str, Any]] = []
    window = WINDOW_ROWS
    while len(found) < limit:
        candidates = await _select(conn, _table(read_model), lasting, lasting, window, columns=STREAM_AND_ID)
        given = {**filters, "upto": upto, "streams": list({row["stream"] for row in candidates})}
        if candidates:
            given["from_id"] = candidates[-1]["id"]
            within = {**filters, "from_id": None}
            found += await _select(conn, read_model.rows(TOUCHED), within, given, limit - len(found))
        if len(candidates) < window:
            break
        lasting["before_id"] = candidates[-1]["id"]
        filters = {**filters, "before_id": candidates[-1]["id"]}
        window = min(window * 2, MAX_WINDOW_ROWS)
    return found


async def _select(
    conn: AsyncConnection,
    source: sql.Composable,
    filters: Mapping[str, object],
    given: Mapping[str, object],
    limit: int,
    *,
    columns: sql.SQL = ALL_COLUMNS,
) -> list[dict[str, Any]]:
    conditions = sql.SQL(" AND ").join([sql.SQL("true"), *(FILTERS[name] for name in filters)])
    query = sql.SQL("SELECT {} FROM ({}) model WHERE {} ORDER BY model.id DESC LIMIT %(limit)s").format(
        columns, source, conditions
    )
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, {**given, "limit": limit})
        return await cursor.fetchall()
