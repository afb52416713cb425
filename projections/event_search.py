"""Search the events: a page of those that match, in one order or the other, and how many there are.

The order is that in which the events took place. Of events that were recorded as they took place, it is the order of
their positions: a range of positions is a range of time then, and the indexes have both. Of imported events it is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import class_row

from ledger.database import AsyncConnection
from ledger.store.head import position_at_async
from projections.event_index.model import EVENT_INDEX
from projections.event_texts.model import EVENT_TEXTS
from projections.read_model import sql_file
from projections.rows import MOST_COUNTED, Order, direction, fetch

HERE = Path(__file__).parent
SEARCH, COUNT = sql_file(HERE / "event_search.sql"), sql_file(HERE / "event_count.sql")
ESTIMATE = sql.SQL("EXPLAIN (FORMAT JSON) SELECT FROM event_index model WHERE {}")
WORDS, ALL_WORDS, FIRST_WORDS = (
    sql_file(HERE / f"{name}.sql") for name in ("event_search_words", "event_words_all", "event_words_first")
)
BOUNDS = (HERE / "event_bounds.sql").read_bytes()
# Filters by which the events with words are not chosen any further.
NO_CHOICE = {"text", "upto", "from_id", "before_id"}
# Filters by which few events are left to look through.
OF_FEW = {"of_client", "stream", "request_id"}
# Filters with an index of their own. Beside them, the planner at times takes the index of all events, and looks through
# all that do not match: so that one is partial, and offered to other searches alone.
BETTER_INDEX = OF_FEW | {"type", "actor", "role", "model", "outcome"}
ANY_EVENT = sql.SQL("model.version > 0")
# Filters by position and time.
RANGES = {"upto", "from_id", "before_id", "occurred_from", "occurred_to"}
# So many positions are looked through before the index of words.
NEAR = 20_000
TICK = timedelta(microseconds=1)
# What a search reads.
POSITION = "SELECT coalesce(min(position), 0) FROM projections WHERE name = ANY (%s)"
READ_MODELS = [EVENT_INDEX.name, EVENT_TEXTS.name]
HAS_IMPORTED = "SELECT EXISTS (SELECT FROM event_index WHERE imported_by IS NOT NULL)"

BY_TIME = sql.SQL("model.occurred_at {direction}, model.id {direction}")
BY_POSITION = sql.SQL("model.id {direction}")
# What follows an event in an order. The first condition of each is where the index begins.
BEYOND: dict[Order, sql.SQL] = {
    "newest": sql.SQL(
        "model.occurred_at <= %(beyond_time)s AND (model.occurred_at < %(beyond_time)s OR model.id < %(beyond_id)s)"
    ),
    "oldest": sql.SQL(
        "model.occurred_at >= %(beyond_time)s AND (model.occurred_at > %(beyond_time)s OR model.id > %(beyond_id)s)"
    ),
}
# When the events of a range of positions took place, if none of them is imported.
BETWEEN = sql.SQL("model.occurred_at BETWEEN %(earliest)s AND %(latest)s")
NEAREST = sql.SQL("SELECT model.occurred_at FROM event_index model WHERE {} ORDER BY {} OFFSET %(limit)s LIMIT 1")


class EventCount(NamedTuple):
    """The number of events that match; a lower bound if not `exact`, and then with the estimate of the database."""

    events: int
    exact: bool
    estimated: int | None


class Bounds(NamedTuple):
    """What is known of a range of positions: projections/event_bounds.sql."""

    has_imported: bool
    earliest: datetime | None
    latest: datetime | None
    beyond_time: datetime | None


async def positions_within(
    conn: AsyncConnection, start: datetime | None, end: datetime | None, upto: int
) -> tuple[int, int]:
    """Return the first and last position of the events recorded in [start, end), up to a position.

    Times never decrease with positions, so a range of time is a range of positions; an empty one ends before it begins.
    """
    first = 1 if start is None else await position_at_async(conn, start - TICK) + 1
    last = upto if end is None else min(upto, await position_at_async(conn, end - TICK))
    return first, last


async def in_window(
    conn: AsyncConnection, start: datetime | None, end: datetime | None, upto: int
) -> dict[str, object]:
    """Return the filters for what took place in the half-open window of time, up to a position.

    In a ledger without imported events these are positions, so that a follower knows that no event to come can match.
    """
    if start is None and end is None:
        return window_filters((1, upto), (None, None), upto, imported=False)
    [(imported,)] = await (await conn.execute(HAS_IMPORTED, prepare=True)).fetchall()
    recorded = (1, upto) if imported else await positions_within(conn, start, end, upto)
    return window_filters(recorded, (start, end), upto, imported=imported)


def window_filters(
    recorded: tuple[int, int], acted: tuple[datetime | None, datetime | None], upto: int, *, imported: bool
) -> dict[str, object]:
    """Return the filters for a window: the first and last position recorded in it, and its ends."""
    if not imported:
        return {"from_id": recorded[0], "before_id": recorded[1] + 1}
    ends = zip(("occurred_from", "occurred_to"), acted, strict=True)
    return {"from_id": 1, "before_id": upto + 1, **{name: end for name, end in ends if end is not None}}


async def indexed_upto(conn: AsyncConnection) -> int:
    """Return the last position that a search finds without waiting: all events up to there are in the read models."""
    [(position,)] = await (await conn.execute(POSITION, [READ_MODELS], prepare=True)).fetchall()
    return int(position)


@dataclass(frozen=True)
class Search:
    """A search: its filters, which name `upto`, the last position that is read, and the order of what it finds.

    Clients are those that were known at `upto`. `beyond_id` is the position of the event that the page follows.
    `by_position` asks for the order in which the events were recorded.
    """

    filters: Mapping[str, object]
    order: Order
    beyond_id: int | None = None
    by_position: bool = False

    async def page(self, conn: AsyncConnection, limit: int) -> list[dict[str, Any]]:
        """Return at most `limit` events that match all filters, in order."""
        if "text" in self.filters and not self.filters.keys() & OF_FEW:
            return await self._with_words(conn, limit)
        where, order, given = await self.parts(conn)
        return await _fetched(conn, SEARCH.format(where, order), given, limit)

    async def parts(self, conn: AsyncConnection) -> tuple[sql.Composed, sql.Composed, dict[str, object]]:
        """Return the condition, the order and the parameters of the query."""
        bounds = await self._bounds(conn)
        by = BY_POSITION if self.by_position and bounds.has_imported else BY_TIME
        order = by.format(direction=direction(self.order))
        return self._condition(self.filters, bounds), order, self._parameters(bounds)

    async def _bounds(self, conn: AsyncConnection) -> Bounds:
        async with conn.cursor(row_factory=class_row(Bounds)) as cursor:
            given = {name: self.filters[name] for name in ("from_id", "before_id")}
            await cursor.execute(BOUNDS, {**given, "beyond_id": self.beyond_id}, prepare=True)
            [bounds] = await cursor.fetchall()
        return bounds

    def _condition(self, filters: Mapping[str, object], bounds: Bounds) -> sql.Composed:
        narrower = [] if bounds.has_imported else [BETWEEN]
        narrower += [] if self.beyond_id is None else [BEYOND[self.order]]
        return sql.SQL(" AND ").join([condition(filters), *narrower])

    def _parameters(self, bounds: Bounds) -> dict[str, object]:
        return {**self.filters, **bounds._asdict(), "beyond_id": self.beyond_id}

    async def _with_words(self, conn: AsyncConnection, limit: int) -> list[dict[str, Any]]:
        """Search by words: one event after another while these are many, then by the index of words.

        PostgreSQL cannot tell how many events have the words. The index finds all of them before it gives the first,
        and one after another takes for ever if there are none.
        """
        near, rest = await self._split(conn)
        where, order, given = await near.parts(conn)
        rows = await _fetched(conn, SEARCH.format(where, order), given, limit)
        if rest is None or len(rows) == limit:
            return rows
        return rows + await rest.by_words(conn, limit - len(rows))

    async def by_words(self, conn: AsyncConnection, limit: int) -> list[dict[str, Any]]:
        """Return the events that have the words, by the index of words."""
        bounds = await self._bounds(conn)
        chosen = bounds.has_imported or self.filters.keys() - NO_CHOICE
        others = {name: value for name, value in self.filters.items() if name != "text"}
        # The index of words has the order of positions.
        by = BY_TIME if bounds.has_imported and not self.by_position else BY_POSITION
        way = direction(self.order)
        found = (ALL_WORDS if chosen else FIRST_WORDS).format(way)
        query = WORDS.format(found, self._condition(others, bounds), by.format(direction=way))
        return await _fetched(conn, query, self._parameters(bounds), limit)

    async def _split(self, conn: AsyncConnection) -> tuple[Search, Search | None]:
        """Split the search into one of the nearest events, and one of the rest, if there is any."""
        bounds = await self._bounds(conn)
        if bounds.has_imported and not self.by_position:
            return await self._split_by_time(conn, bounds)
        first, end = int(str(self.filters["from_id"])), int(str(self.filters["before_id"]))
        if self.order == "newest":
            end = end if self.beyond_id is None else min(end, self.beyond_id)
            middle = max(first, end - NEAR)
            return self._within(from_id=middle, before_id=end), self._rest(first, middle)
        first = first if self.beyond_id is None else max(first, self.beyond_id + 1)
        middle = min(end, first + NEAR)
        return self._within(from_id=first, before_id=middle), self._rest(middle, end)

    async def _split_by_time(self, conn: AsyncConnection, bounds: Bounds) -> tuple[Search, Search | None]:
        ranges = {name: value for name, value in self.filters.items() if name in RANGES}
        order = BY_TIME.format(direction=direction(self.order))
        query = NEAREST.format(self._condition(ranges, bounds), order)
        found = await _fetched(conn, query, self._parameters(bounds), NEAR)
        if not found:
            return self, None
        middle: datetime = found[0]["occurred_at"]
        if self.order == "newest":
            return self._within(occurred_from=middle), self._within(occurred_to=middle)
        return self._within(occurred_to=middle + TICK), self._within(occurred_from=middle + TICK)

    def _rest(self, first: int, end: int) -> Search | None:
        return self._within(from_id=first, before_id=end) if first < end else None

    def _within(self, **filters: object) -> Search:
        return replace(self, filters={**self.filters, **filters})


async def count(conn: AsyncConnection, filters: Mapping[str, object], most: int = MOST_COUNTED) -> EventCount:
    """Count the events that match, up to `most`; of more than that, also return how many the database estimates."""
    query, given = COUNT.format(condition(filters)), {**filters, "limit": most + 1}
    found = await fetch(conn, query, given, parsed=False)
    counted = int(found[0]["count"])
    if counted <= most:
        return EventCount(counted, True, None)
    return EventCount(most, False, max(most, await _estimated(conn, filters)))


async def _estimated(conn: AsyncConnection, filters: Mapping[str, object]) -> int:
    """Return how many events the planner expects, from the statistics of the table."""
    cursor = await conn.execute(ESTIMATE.format(condition(filters)), filters, prepare=False)
    [(plan,)] = await cursor.fetchall()
    return int(plan[0]["Plan"]["Plan Rows"])


async def _fetched(
    conn: AsyncConnection, query: sql.Composed, given: Mapping[str, object], limit: int
) -> list[dict[str, Any]]:
    """Return what a query finds. It is planned for its values: no plan suits both a frequent one and a rare one."""
    return await fetch(conn, query, {**given, "limit": limit}, parsed=False, prepare=False)


def condition(filters: Mapping[str, object]) -> sql.Composed:
    """Return the condition that all filters hold."""
    conditions = [EVENT_INDEX.filters[name].condition for name in filters]
    return sql.SQL(" AND ").join(conditions if filters.keys() & BETTER_INDEX else [ANY_EVENT, *conditions])
