"""Reading read models in the request path: as they are now, or as of a position.

Both are the same SELECT; `source` is the table or the fold. What a caller may filter by is one table, `FILTERS`.

JSON comes as the text that the database has, to be put into an answer as it is: read into Python's numbers and written
again, 1e30 would be an integer that not every writer takes. Who needs the values asks for them `parsed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import orjson
import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Loader
from psycopg.rows import dict_row

from ledger.errors import InvalidEvent, Unavailable
from projections.engine import (
    FEW_STREAMS,
    ONE_CLIENT,
    ONE_STREAM,
    TOUCHED,
    ReadModel,
    base_of,
    get_read_model,
)

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
    "recommendation_id": sql.SQL("model.recommendation_id = %(recommendation_id)s"),
    "state": sql.SQL("model.state = %(state)s"),
    "waiting": sql.SQL("(model.state = 'waiting') = %(waiting)s"),
    "outcome": sql.SQL("model.outcome = %(outcome)s"),
    "decided_by": sql.SQL("model.decided_by = %(decided_by)s"),
    "agent": sql.SQL("model.agent = %(agent)s"),
    "request_model": sql.SQL("model.request_model = %(request_model)s"),
    "name": sql.SQL("model.name = %(name)s"),
    "suspended": sql.SQL("model.suspended = %(suspended)s"),
    "created_from": sql.SQL("model.created_at >= %(created_from)s"),
    "created_to": sql.SQL("model.created_at < %(created_to)s"),
    # As created_to, for those who ask by age and by time at once.
    "created_before": sql.SQL("model.created_at < %(created_before)s"),
}
# What a later event may change, by read model; the rest of a row stays as it was when the row came to be.
CHANGING: dict[str, frozenset[str]] = {
    "portfolio_requests": frozenset({"status"}),
    "ai_recommendations": frozenset({"state", "waiting", "decided_by"}),
    "decisions": frozenset({"state", "waiting"}),
    "model_calls": frozenset({"state", "recommendation_id"}),
    "agents": frozenset({"suspended"}),
}
ALL_COLUMNS = sql.SQL("model.*")
STREAM_AND_ID = sql.SQL("model.stream, model.id")
WINDOW_ROWS = 500
MAX_WINDOW_ROWS = 20_000

# Prompts may be megabytes, and nobody reads those of a whole history.
NEWEST_STREAMS = """
    SELECT DISTINCT newest.stream
    FROM unnest(%(client_ids)s::text[]) AS client (id),
         LATERAL (SELECT model.stream FROM ai_recommendations model
                  WHERE model.client_id = client.id AND model.id <= %(upto)s
                  ORDER BY model.id DESC LIMIT %(most)s) newest
"""
HISTORY = sql.SQL(
    """
    SELECT * FROM (
        SELECT id, request_id, client_id, recommendation, model_name, model_version, state, digest, supersedes,
               superseded_by, decision_id, outcome, decided_by, decided_at, reason_code, reason_group, rationale,
               replacement, response, communicated_at, created_at, updated_at,
               row_number() OVER (PARTITION BY client_id ORDER BY id DESC) AS nth
        FROM ({}) folded
    ) model
    WHERE nth <= %(most)s
    ORDER BY client_id, id DESC
    """
)
SEALED_OF = (
    "SELECT s.position, f.key, f.value::text FROM sealed_fields s, json_each(s.fields) f WHERE s.position = ANY (%s)"
)

POSITIONS = "SELECT h.position, p.position, p.error FROM head h LEFT JOIN projections p ON p.name = %s"
POSITION_AT = "SELECT position_at(%s)"
POLL_S = (0.001, 0.02)


@dataclass(frozen=True)
class AsOf:
    """Which state is read: `position` None is the current one."""

    position: int | None = None
    stream: str | None = None


async def wait_until_caught_up(
    conn: AsyncConnection, read_model: ReadModel, *, patience_s: float, upto: int | None = None
) -> int:
    """Waits until the read model has all that was recorded when this was called, or all up to a position.

    Returns the position waited for; raises Unavailable where that fails.
    """
    target = upto
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
            return target
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


class _AsItIs(Loader):
    """JSON as the bytes that came, for orjson.dumps to put in their place."""

    def load(self, data: Buffer) -> orjson.Fragment:
        return orjson.Fragment(bytes(data))


async def read_rows(
    conn: AsyncConnection,
    read_model: ReadModel,
    filters: Mapping[str, object],
    *,
    as_of: AsOf,
    limit: int,
    parsed: bool = False,
) -> list[dict[str, Any]]:
    """At most `limit` rows that match all `filters` (names of FILTERS), the newest id first.

    JSON columns are orjson.Fragments, or with `parsed` the values.
    """
    found = await _rows(_Reader(conn, read_model, parsed), filters, as_of, limit)
    for row in found:
        del row["stream"]
    return found


async def _rows(reader: _Reader, filters: Mapping[str, object], as_of: AsOf, limit: int) -> list[dict[str, Any]]:
    given = {**filters, "upto": as_of.position, "stream": as_of.stream}
    if as_of.position is None:
        return await reader.select(reader.table, filters, given, limit)
    async with reader.conn.transaction():
        await reader.conn.execute(FEW_STREAMS, prepare=False)
        if as_of.stream is not None:
            return await reader.select(reader.fold(ONE_STREAM), filters, given, limit)
        if "client_id" in filters:
            return await reader.select(reader.fold(ONE_CLIENT), filters, given, limit)
        return await _windows(reader, filters, as_of.position, limit)


async def _windows(reader: _Reader, filters: Mapping[str, object], upto: int, limit: int) -> list[dict[str, Any]]:
    """Rows as of a position, whoever the client: folds the streams of the newest ids first, until there are enough.

    Rows never vanish and keep their ids, so the current table says which streams may hold the next ids. The windows
    grow: a filter that nothing matches costs about as much as folding everything once.
    """
    lasting = {name: value for name, value in filters.items() if name not in CHANGING[reader.read_model.name]}
    found: list[dict[str, Any]] = []
    window = WINDOW_ROWS
    while len(found) < limit:
        candidates = await reader.select(reader.table, lasting, lasting, window, columns=STREAM_AND_ID)
        given = {**filters, "upto": upto, "streams": list({row["stream"] for row in candidates})}
        if candidates:
            given["from_id"] = candidates[-1]["id"]
            within = {**filters, "from_id": None}
            found += await reader.select(reader.fold(TOUCHED), within, given, limit - len(found))
        if len(candidates) < window:
            break
        lasting["before_id"] = candidates[-1]["id"]
        filters = {**filters, "before_id": candidates[-1]["id"]}
        window = min(window * 2, MAX_WINDOW_ROWS)
    return found


@dataclass(frozen=True)
class _Reader:
    """A connection, what is read from it, and whether JSON comes as values."""

    conn: AsyncConnection
    read_model: ReadModel
    parsed: bool

    @property
    def table(self) -> sql.Composed:
        """As it is now."""
        return sql.SQL("SELECT * FROM {}").format(sql.Identifier(self.read_model.name))

    def fold(self, scope: sql.SQL) -> sql.Composed:
        """As of some as_of."""
        return self.read_model.rows(scope)

    async def select(
        self,
        source: sql.Composable,
        filters: Mapping[str, object],
        given: Mapping[str, object],
        limit: int,
        *,
        columns: sql.SQL = ALL_COLUMNS,
    ) -> list[dict[str, Any]]:
        """The newest rows of the source that match."""
        conditions = sql.SQL(" AND ").join([sql.SQL("true"), *(FILTERS[name] for name in filters)])
        query = sql.SQL("SELECT {} FROM ({}) model WHERE {} ORDER BY model.id DESC LIMIT %(limit)s").format(
            columns, source, conditions
        )
        return await _fetch(self.conn, query, {**given, "limit": limit}, parsed=self.parsed)


async def _fetch(
    conn: AsyncConnection, query: sql.Composed, given: Mapping[str, object], *, parsed: bool
) -> list[dict[str, Any]]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        if not parsed:
            cursor.adapters.register_loader("jsonb", _AsItIs)
        await cursor.execute(query, given)
        return await cursor.fetchall()


async def history(
    conn: AsyncConnection, client_ids: Sequence[str], upto: int, most: int, *, parsed: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Of each of these clients, the newest `most` recommendations as of position `upto`, the newest first.

    The table says which streams those are in, so it has to have everything up to `upto` (`wait_until_caught_up`).

    Rows of ai_recommendations without `prompt`, `parameters` and what is seldom asked for; JSON is parsed here, unless
    told otherwise. A client without any has an empty list.
    """
    found: dict[str, list[dict[str, Any]]] = {client_id: [] for client_id in client_ids}
    query = HISTORY.format(get_read_model("ai_recommendations").rows(TOUCHED))
    given: dict[str, Any] = {"client_ids": list(found), "upto": upto, "most": most}
    async with conn.transaction():
        await conn.execute(FEW_STREAMS, prepare=False)
        cursor = await conn.execute(NEWEST_STREAMS, given, prepare=True)
        given["streams"] = [row[0] for row in await cursor.fetchall()]
        rows_found = await _fetch(conn, query, given, parsed=parsed)
    for row in rows_found:
        del row["nth"]
        found[row["client_id"]].append(row)
    return found


async def sealed_values(conn: AsyncConnection, positions: Sequence[int]) -> dict[int, dict[str, str]]:
    """The sealed values of the events at these positions: the JSON text of each field, byte for byte as recorded.

    An event that has none, or whose values were erased, has an empty dict.
    """
    found: dict[int, dict[str, str]] = {position: {} for position in positions}
    cursor = await conn.execute(SEALED_OF, [list(found)], prepare=True)
    for position, name, value in await cursor.fetchall():
        found[position][name] = value
    return found


async def read_view(conn: AsyncConnection, name: str, *, limit: int) -> list[dict[str, Any]]:
    """The first `limit` rows of a view, in its own order, as it is now. Raises UnknownReadModel.

    It is on `base_of(name)`, for who waits until that is caught up.
    """
    base_of(name)
    query = sql.SQL("SELECT * FROM {} LIMIT %(limit)s").format(sql.Identifier(name))
    return await _fetch(conn, query, {"limit": limit}, parsed=False)
