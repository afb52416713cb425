"""Search the events: a page of those that match, in one order or the other, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from psycopg import sql

from ledger.database import AsyncConnection
from ledger.store.head import position_at_async
from projections.event_index.model import EVENT_INDEX
from projections.event_texts.model import EVENT_TEXTS
from projections.read_model import sql_file
from projections.rows import MOST_COUNTED, Order, direction, fetch

HERE = Path(__file__).parent
SEARCH, COUNT = sql_file(HERE / "event_search.sql"), sql_file(HERE / "event_count.sql")
WORDS, ALL_WORDS, FIRST_WORDS = (
    sql_file(HERE / f"{name}.sql") for name in ("event_search_words", "event_words_all", "event_words_first")
)
# Filters by which the events with words are not chosen any further.
NO_CHOICE = {"text", "upto", "from_id", "before_id"}
# Filters by which few events are left to look through.
OF_FEW = {"of_client", "stream", "request_id"}
# So many positions are looked through before the index of words.
NEAR = 20_000
TICK = timedelta(microseconds=1)
# What a search reads.
POSITION = "SELECT coalesce(min(position), 0) FROM projections WHERE name = ANY (%s)"
READ_MODELS = [EVENT_INDEX.name, EVENT_TEXTS.name]
HAS_IMPORTED = "SELECT EXISTS (SELECT FROM event_index WHERE occurred_at IS NOT NULL)"


class EventCount(NamedTuple):
    """The number of events that match; a lower bound if not `exact`."""

    events: int
    exact: bool


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
    """Return the filters for the events in the half-open window of time, up to a position.

    An imported event took place at its `occurred_at`, whenever it was recorded. A ledger without imported events, and a
    search without a window, need positions alone.
    """
    recorded = await positions_within(conn, start, end, upto)
    imported = False
    if start is not None or end is not None:
        [(imported,)] = await (await conn.execute(HAS_IMPORTED, prepare=True)).fetchall()
    return window_filters(recorded, (start, end), upto, imported=imported)


def window_filters(
    recorded: tuple[int, int], acted: tuple[datetime | None, datetime | None], upto: int, *, imported: bool
) -> dict[str, object]:
    """Return the filters for a window: the first and last position recorded in it, and its ends."""
    if not imported:
        return {"from_id": recorded[0], "before_id": recorded[1] + 1}
    window = {
        "window_first": recorded[0],
        "window_last": recorded[1],
        "window_start": acted[0] or "-infinity",
        "window_end": acted[1] or "infinity",
    }
    return {"from_id": 1, "before_id": upto + 1, "window": window}


async def indexed_upto(conn: AsyncConnection) -> int:
    """Return the last position that a search finds without waiting: all events up to there are in the read models."""
    [(position,)] = await (await conn.execute(POSITION, [READ_MODELS], prepare=True)).fetchall()
    return int(position)


async def search(
    conn: AsyncConnection, filters: Mapping[str, object], order: Order, limit: int
) -> list[dict[str, Any]]:
    """Return at most `limit` events that match all filters of the read model, in the order of their positions.

    The filters name `upto`, the last position that is read: clients are those that were known then.
    """
    if "text" in filters and not filters.keys() & OF_FEW:
        return await _search_words(conn, filters, order, limit)
    query = SEARCH.format(condition(filters), direction(order))
    return await fetch(conn, query, parameters(filters, limit), parsed=False, prepare=False)


async def _search_words(
    conn: AsyncConnection, filters: Mapping[str, object], order: Order, limit: int
) -> list[dict[str, Any]]:
    """Search by words: one event after another while these are many, then by the index of words.

    PostgreSQL cannot tell how many events have the words. The index finds all of them before it gives the first, and
    one after another takes for ever if there are none.
    """
    first, end = int(str(filters["from_id"])), int(str(filters["before_id"]))
    near, rest = (max(first, end - NEAR), end), (first, max(first, end - NEAR))
    if order == "oldest":
        near, rest = (first, min(end, first + NEAR)), (min(end, first + NEAR), end)
    given = parameters(filters, limit) | {"from_id": near[0], "before_id": near[1]}
    query = SEARCH.format(condition(filters), direction(order))
    rows = await fetch(conn, query, given, parsed=False, prepare=False)
    if len(rows) == limit or rest[0] >= rest[1]:
        return rows
    given |= {"from_id": rest[0], "before_id": rest[1], "limit": limit - len(rows)}
    others = condition({name: value for name, value in filters.items() if name != "text"})
    found = ALL_WORDS if filters.keys() - NO_CHOICE else FIRST_WORDS
    query = WORDS.format(found.format(direction(order)), others, direction(order))
    return rows + await fetch(conn, query, given, parsed=False, prepare=False)


async def count(conn: AsyncConnection, filters: Mapping[str, object], most: int = MOST_COUNTED) -> EventCount:
    """Count the events that match, up to `most`."""
    found = await fetch(conn, COUNT.format(condition(filters)), parameters(filters, most + 1), parsed=False)
    counted = int(found[0]["count"])
    return EventCount(min(counted, most), counted <= most)


def parameters(filters: Mapping[str, object], limit: int) -> dict[str, Any]:
    """Return the parameters of a query with these filters, and those of their window."""
    found: dict[str, Any] = {**filters, "limit": limit}
    return {**found, **found.pop("window", {})}


def condition(filters: Mapping[str, object]) -> sql.Composed:
    """Return the condition that all filters hold."""
    conditions = [sql.SQL("true"), *(EVENT_INDEX.filters[name].condition for name in filters)]
    return sql.SQL(" AND ").join(conditions)
