"""Reads read models in the request path: as they are now, or as of a position.

Both are the same SELECT, from the table or from the fold. A caller may filter by what the read model lists as filters.

JSON columns come as the text that the database returns, to be put into a response as it is. Parsed and written again,
1e30 would become an integer that not every writer accepts. Callers that need the values ask for `parsed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import orjson
from psycopg import sql
from psycopg.adapt import Buffer, Loader
from psycopg.rows import dict_row

from ledger.database import AsyncConnection
from ledger.errors import InvalidEvent, StreamSetAside, Unavailable
from ledger.store.head import position_at_async, read_head_async
from ledger.store.standby import read_standby, wait_for_replay
from projections.engine import FEW_STREAMS
from projections.read_model import ONE_CLIENT, ONE_STREAM, TOUCHED, ReadModel
from projections.registry import read_model_of_view

ALL_COLUMNS = sql.SQL("model.*")
STREAM_AND_ID = sql.SQL("model.stream, model.id")
WINDOW_ROWS = 500
MAX_WINDOW_ROWS = 20_000

SEALED_VALUES = (
    "SELECT s.position, f.key, f.value::text FROM sealed_fields s, json_each(s.fields) f WHERE s.position = ANY (%s)"
)
FIND_SET_ASIDE = (Path(__file__).parent / "find_set_aside.sql").read_bytes()
SET_ASIDE_LATER = "SELECT stream FROM streams_set_aside WHERE read_model = %s AND position > %s"
POSITIONS = (
    "SELECT h.position, p.position, p.error, pg_is_in_recovery() FROM head h LEFT JOIN projections p ON p.name = %s"
)
# Pause between two reads of the position: starts at the first value, doubles up to the second.
POLL_S = (0.001, 0.02)


@dataclass(frozen=True)
class AsOf:
    """The state to read: as of a position, or with None the current one. `stream` limits the fold to one stream."""

    position: int | None = None
    stream: str | None = None


async def wait_until_caught_up(
    conn: AsyncConnection, read_model: ReadModel, *, patience_s: float, upto: int | None = None
) -> int:
    """Wait until the read model has all events up to `upto`; by default, all that are recorded at the time of the call.

    On a standby, wait for the replay of what it has received first. Returns the position waited for. Raises Unavailable
    if the read model, or the standby, does not get there within `patience_s`.
    """
    target = upto
    replayed = False
    pause_s, longest_pause_s = POLL_S
    deadline = monotonic() + patience_s
    while True:
        row = await (await conn.execute(POSITIONS, [read_model.name], prepare=True)).fetchone()
        if row is None:
            raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
        head, position, error, standby = row
        if standby and not replayed:
            await wait_for_replay(conn, patience_s=patience_s)
            replayed = True
            continue
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
        pause_s = min(pause_s * 2, longest_pause_s)


async def resolve(conn: AsyncConnection, as_of: int | datetime) -> int:
    """Return the position that `as_of` means. Raises InvalidEvent for a position beyond the last event."""
    if isinstance(as_of, datetime):
        return await position_at_async(conn, as_of)
    head = await read_head_async(conn)
    if head is None or as_of > head.position:
        if await read_standby(conn) is not None:
            raise Unavailable("the database is a standby, and has not replayed this position; try again")
        raise InvalidEvent("as_of", "the ledger has no such position yet")
    return as_of


async def stream_at(conn: AsyncConnection, position: int) -> str | None:
    """Return the stream of the event at this position, or None if there is no such event."""
    row = await (
        await conn.execute("SELECT stream FROM events WHERE position = %s", [position], prepare=True)
    ).fetchone()
    return None if row is None else str(row[0])


async def count_set_aside(
    conn: AsyncConnection, read_model: ReadModel, as_of: AsOf, *, client_id: object = None
) -> int:
    """Return how many streams the read model has set aside, of `as_of.stream` or the client if given.

    Raises StreamSetAside if there are some of the stream or client that the caller asks for.
    """
    parameters = {"read_model": read_model.name, "upto": as_of.position, "stream": as_of.stream, "client_id": client_id}
    row = await (await conn.execute(FIND_SET_ASIDE, parameters, prepare=True)).fetchone()
    if row is None:
        return 0
    stream, position, sqlstate, count = row
    if as_of.stream is not None or client_id is not None:
        raise StreamSetAside(read_model.name, stream, position, sqlstate)
    return int(count)


async def read_rows(
    conn: AsyncConnection,
    read_model: ReadModel,
    filters: Mapping[str, object],
    *,
    as_of: AsOf,
    limit: int,
    parsed: bool = False,
) -> list[dict[str, Any]]:
    """Return at most `limit` rows that match all filters, the newest id first. `filters` maps names to values.

    JSON columns are orjson.Fragments, or with `parsed` Python values.
    """
    rows = await _rows(_Reader(conn, read_model, parsed), filters, as_of, limit)
    for row in rows:
        del row["stream"]
    return rows


async def _rows(reader: _Reader, filters: Mapping[str, object], as_of: AsOf, limit: int) -> list[dict[str, Any]]:
    parameters = {**filters, "upto": as_of.position, "stream": as_of.stream}
    if as_of.position is None:
        return await reader.select(reader.table, filters, parameters, limit)
    async with reader.conn.transaction():
        await reader.conn.execute(FEW_STREAMS, prepare=False)
        if as_of.stream is not None:
            return await reader.select(reader.read_model.rows(ONE_STREAM), filters, parameters, limit)
        if "client_id" in filters:
            return await reader.select(reader.read_model.rows(ONE_CLIENT), filters, parameters, limit)
        return await _windows(reader, filters, as_of.position, limit)


async def _windows(reader: _Reader, filters: Mapping[str, object], upto: int, limit: int) -> list[dict[str, Any]]:
    """Return rows of all clients as of a position: fold the streams of the newest ids first, until there are enough.

    Rows keep their ids, and vanish only if their stream is set aside later. So the current table says which streams may
    hold the next ids, beside those that were set aside since. Only filters that no later event changes can narrow that
    search. The windows grow, so that a filter that matches nothing costs about as much as folding everything once.
    """
    cursor = await reader.conn.execute(SET_ASIDE_LATER, [reader.read_model.name, upto], prepare=True)
    later = {str(stream) for (stream,) in await cursor.fetchall()}
    own = reader.read_model.filters
    lasting = {name: value for name, value in filters.items() if not own[name].changing}
    rows: list[dict[str, Any]] = []
    window = WINDOW_ROWS
    while len(rows) < limit:
        candidates = await reader.select(reader.table, lasting, lasting, window, columns=STREAM_AND_ID)
        is_last = len(candidates) < window
        streams = list(later.union(row["stream"] for row in candidates))
        if streams:
            in_window = filters if is_last else {**filters, "from_id": candidates[-1]["id"]}
            parameters = {**in_window, "upto": upto, "streams": streams}
            rows += await reader.select(reader.read_model.rows(TOUCHED), in_window, parameters, limit - len(rows))
        if is_last:
            break
        lasting["before_id"] = candidates[-1]["id"]
        filters = {**filters, "before_id": candidates[-1]["id"]}
        window = min(window * 2, MAX_WINDOW_ROWS)
    return rows


@dataclass(frozen=True)
class _Reader:
    """A read model on a connection; `parsed` as in read_rows()."""

    conn: AsyncConnection
    read_model: ReadModel
    parsed: bool

    @property
    def table(self) -> sql.Composed:
        """The current rows."""
        return sql.SQL("SELECT * FROM {}").format(sql.Identifier(self.read_model.name))

    async def select(
        self,
        source: sql.Composable,
        filters: Mapping[str, object],
        parameters: Mapping[str, object],
        limit: int,
        *,
        columns: sql.SQL = ALL_COLUMNS,
    ) -> list[dict[str, Any]]:
        """Return the newest rows of the source that match; `parameters` has the values of filters and source."""
        conditions = [self.read_model.filters[name].condition for name in filters]
        query = sql.SQL("SELECT {} FROM ({}) model WHERE {} ORDER BY model.id DESC LIMIT %(limit)s").format(
            columns, source, sql.SQL(" AND ").join([sql.SQL("true"), *conditions])
        )
        return await fetch(self.conn, query, {**parameters, "limit": limit}, parsed=self.parsed)


class _AsText(Loader):
    """Keeps JSON as the bytes that came, for orjson.dumps to copy into its output."""

    def load(self, data: Buffer) -> orjson.Fragment:
        return orjson.Fragment(bytes(data))


async def fetch(
    conn: AsyncConnection, query: sql.Composed, parameters: Mapping[str, object], *, parsed: bool
) -> list[dict[str, Any]]:
    """Run a query and return its rows by column name; `parsed` as in read_rows()."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        if not parsed:
            cursor.adapters.register_loader("jsonb", _AsText)
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def sealed_values(conn: AsyncConnection, positions: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the sealed values of the events at these positions: each field's JSON text, byte for byte as recorded.

    An event without sealed values, or whose values were erased, has an empty dict.
    """
    values: dict[int, dict[str, str]] = {position: {} for position in positions}
    cursor = await conn.execute(SEALED_VALUES, [list(values)], prepare=True)
    for position, name, value in await cursor.fetchall():
        values[position][name] = value
    return values


async def read_view(conn: AsyncConnection, name: str, *, limit: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows of a view, in the view's own order, as they are now. Raises UnknownReadModel.

    A caller that needs all that is recorded waits for `read_model_of_view(name)` first.
    """
    read_model_of_view(name)
    query = sql.SQL("SELECT * FROM {} LIMIT %(limit)s").format(sql.Identifier(name))
    return await fetch(conn, query, {"limit": limit}, parsed=False)
