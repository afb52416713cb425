"""Read the rows of a read model, as they are now or as of a position, and count them.

Both are the same SELECT, from the table or from the fold. A caller may filter by what the read model lists as filters.

JSON columns come as the text that the database returns, to be put into a response as it is. Parsed and written again,
1e30 would become an integer that not every writer accepts. Callers that need the values ask for `parsed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson
import psycopg
from psycopg import sql
from psycopg.adapt import Buffer, Loader
from psycopg.rows import dict_row

from ledger.database import AsyncConnection
from ledger.errors import StreamUnreadable
from ledger.store.snapshot import snapshot_of, snapshot_with
from projections.engine import FEW_STREAMS
from projections.read_model import ONE_CLIENT, ONE_STREAM, TOUCHED, ReadModel
from projections.reads import AsOf
from projections.set_aside import Cause, cause_of

Order = Literal["newest", "oldest"]

ALL_COLUMNS = sql.SQL("model.*")
STREAM_AND_ID = sql.SQL("model.stream, model.id")
WINDOW_ROWS = 500
MAX_WINDOW_ROWS = 20_000
# The most rows that are counted.
MOST_COUNTED = 10_000

SET_ASIDE_LATER = "SELECT stream FROM streams_set_aside WHERE read_model = %s AND position > %s"
POSITION = "SELECT position FROM projections WHERE name = %s"


class RowCount(NamedTuple):
    """The number of rows that match; a lower bound if not `exact`."""

    rows: int
    exact: bool


class Shape(NamedTuple):
    """The order of rows, by their ids, and the columns to read: by default all but the stream."""

    order: Order = "newest"
    columns: Collection[str] | None = None


WHOLE = Shape()


def direction(order: Order) -> sql.SQL:
    """Return the direction of an order, for ORDER BY."""
    return sql.SQL("DESC" if order == "newest" else "ASC")


def beyond(order: Order) -> str:
    """Return the name of the filter that selects the rows after an id in an order."""
    return "before_id" if order == "newest" else "after_id"


@asynccontextmanager
async def one_state(conn: AsyncConnection, read_model: ReadModel, *, sealed: bool = True) -> AsyncIterator[int]:
    """Let all reads of the block see one state of the table, and return its position.

    With `sealed` they may also read sealed values, and wait for a scrub that swaps their tables.
    """
    start = snapshot_with if sealed else snapshot_of
    async with conn.transaction():
        await conn.execute(start(read_model.name), prepare=False)
        row = await (await conn.execute(POSITION, [read_model.name], prepare=True)).fetchone()
        yield 0 if row is None else int(row[0])


async def read_rows(
    conn: AsyncConnection,
    read_model: ReadModel,
    filters: Mapping[str, object],
    *,
    as_of: AsOf,
    limit: int,
    shape: Shape = WHOLE,
    parsed: bool = False,
) -> list[dict[str, Any]]:
    """Return at most `limit` rows that match all filters.

    `filters` maps names to values: `client_id` may be a list, and a filter of any_of() takes a list.
    JSON columns are orjson.Fragments, or with `parsed` Python values.
    """
    order, columns = shape
    found = ALL_COLUMNS if columns is None else sql.SQL(", ").join(sql.Identifier("model", name) for name in columns)
    rows = await _rows(_Reader(conn, read_model, order, found, parsed), filters, as_of, limit)
    for row in rows:
        row.pop("stream", None)
    return rows


async def count_rows(
    conn: AsyncConnection, read_model: ReadModel, filters: Mapping[str, object], *, as_of: AsOf, most: int
) -> RowCount:
    """Count the rows that match all filters, up to `most`."""
    reader = _Reader(conn, read_model, "newest", sql.SQL("model.id"), parsed=False)
    counted = len(await _rows(reader, filters, as_of, most + 1))
    return RowCount(min(counted, most), counted <= most)


async def _rows(reader: _Reader, filters: Mapping[str, object], as_of: AsOf, limit: int) -> list[dict[str, Any]]:
    if isinstance(client_id := filters.get("client_id"), str):
        filters = {**filters, "client_id": [client_id]}
    parameters = {**filters, "upto": as_of.position, "stream": as_of.stream}
    if as_of.position is None:
        return await reader.select(reader.table, filters, parameters, limit)
    try:
        async with reader.conn.transaction():
            await reader.conn.execute(FEW_STREAMS, prepare=False)
            return await _folded(reader, filters, parameters, limit)
    except psycopg.Error as error:
        if cause_of(error) is not Cause.DATA:
            raise
        raise StreamUnreadable(
            f"the read model {reader.read_model.name} cannot show an event that was asked for (SQLSTATE"
            f" {error.sqlstate}), and does not list its stream as set aside; the event is recorded. If it stays so, an"
            " operator runs advice-ledger rebuild, which lists the stream"
        ) from error


async def _folded(
    reader: _Reader, filters: Mapping[str, object], parameters: Mapping[str, Any], limit: int
) -> list[dict[str, Any]]:
    """Fold the events that the filters need, up to a position."""
    if parameters["stream"] is not None:
        return await reader.select(reader.read_model.rows(ONE_STREAM), filters, parameters, limit)
    if "client_id" in filters:
        return await reader.select(reader.read_model.rows(ONE_CLIENT), filters, parameters, limit)
    return await _windows(reader, filters, parameters["upto"], limit)


async def _windows(reader: _Reader, filters: Mapping[str, object], upto: int, limit: int) -> list[dict[str, Any]]:
    """Return rows of all clients as of a position: fold the streams of the first ids first, until there are enough.

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
            in_window = filters if is_last else {**filters, **reader.upto(candidates[-1]["id"])}
            parameters = {**in_window, "upto": upto, "streams": streams}
            rows += await reader.select(reader.read_model.rows(TOUCHED), in_window, parameters, limit - len(rows))
        if is_last:
            break
        following = {beyond(reader.order): candidates[-1]["id"]}
        lasting |= following
        filters = {**filters, **following}
        window = min(window * 2, MAX_WINDOW_ROWS)
    return rows


@dataclass(frozen=True)
class _Reader:
    """A read model on a connection, read in an order; `parsed` as in read_rows()."""

    conn: AsyncConnection
    read_model: ReadModel
    order: Order
    columns: sql.Composable
    parsed: bool

    @property
    def table(self) -> sql.Composed:
        """Return the current rows."""
        return sql.SQL("SELECT * FROM {}").format(sql.Identifier(self.read_model.name))

    def upto(self, row_id: int) -> dict[str, int]:
        """Return the filter that selects the rows up to an id in the order."""
        return {"from_id": row_id} if self.order == "newest" else {"before_id": row_id + 1}

    async def select(
        self,
        source: sql.Composable,
        filters: Mapping[str, object],
        parameters: Mapping[str, object],
        limit: int,
        *,
        columns: sql.Composable | None = None,
    ) -> list[dict[str, Any]]:
        """Return the first rows of the source that match; `parameters` has the values of filters and source."""
        conditions = [self.read_model.filters[name].condition for name in filters]
        query = sql.SQL("SELECT {} FROM ({}) model WHERE {} ORDER BY model.id {} LIMIT %(limit)s").format(
            columns or self.columns,
            source,
            sql.SQL(" AND ").join([sql.SQL("true"), *conditions]),
            direction(self.order),
        )
        return await fetch(self.conn, query, {**parameters, "limit": limit}, parsed=self.parsed)


class _AsText(Loader):
    """Keep JSON as the bytes that arrived, for orjson.dumps to copy into its output."""

    def load(self, data: Buffer) -> orjson.Fragment:
        return orjson.Fragment(bytes(data))


async def fetch(
    conn: AsyncConnection,
    query: sql.Composed,
    parameters: Mapping[str, object],
    *,
    parsed: bool,
    prepare: bool | None = None,
) -> list[dict[str, Any]]:
    """Run a query and return its rows by column name; `parsed` as in read_rows().

    Without `prepare` it may be prepared, and then planned for any parameters; with False it is planned for these.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        if not parsed:
            cursor.adapters.register_loader("jsonb", _AsText)
        await cursor.execute(query, parameters, prepare=prepare)
        return await cursor.fetchall()
