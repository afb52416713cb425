"""Read the events of portfolios, holdings and prices, for runs and for people who act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from psycopg.rows import class_row

from ledger.database import AsyncConnection
from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.actions import STREAM as ACTIONS
from ledger.domain.monitoring.flows import FLOWS
from ledger.domain.monitoring.portfolio import CATEGORY, HOLDINGS, Portfolio, fold, stream_of
from schema.events import HoldingsRecorded

HERE = Path(__file__).parent
STREAMS = (HERE / "streams.sql").read_bytes()
TOUCHED = (HERE / "touched.sql").read_bytes()
HELD = (HERE / "holdings.sql").read_bytes()
FLOWN = (HERE / "flows.sql").read_bytes()
# The number of a portfolio's newest records of flows that a run reads.
MOST_FLOWS = 1000
# After every position, and after every day.
NOW = 2**62
EVER = "9999-12-31"


async def read_streams(
    conn: AsyncConnection, streams: Sequence[str], upto: int = NOW, after: int = 0
) -> dict[str, list[RecordedEvent]]:
    """Return the events of each stream that has some in (after, upto], with sealed values and times."""
    events = await _events(conn, STREAMS, {"streams": list(streams), "after": after, "upto": upto})
    return {stream: list(found) for stream, found in groupby(events, key=lambda event: event.stream)}


async def touched_streams(conn: AsyncConnection, after: int, upto: int = NOW) -> list[str]:
    """Return the streams of portfolios, holdings and prices that have events in (after, upto]."""
    rows = await (await conn.execute(TOUCHED, {"after": after, "upto": upto}, prepare=True)).fetchall()
    return [stream for (stream,) in rows]


async def read_actions(conn: AsyncConnection, upto: int = NOW) -> list[RecordedEvent]:
    """Return the events about corporate actions up to a position."""
    return (await read_streams(conn, [ACTIONS], upto)).get(ACTIONS, [])


async def read_states(conn: AsyncConnection, names: Sequence[str]) -> dict[str, Portfolio]:
    """Return the state of each portfolio as it is now."""
    found = await read_streams(conn, [stream_of(name) for name in names])
    return {name: fold(name, found.get(stream_of(name), [])) for name in names}


async def acted_since(conn: AsyncConnection, position: int) -> dict[str, Portfolio]:
    """Return the portfolios with events after the position of a run, as they are now: people may act meanwhile."""
    streams = await touched_streams(conn, position)
    return await read_states(conn, [one.removeprefix(CATEGORY) for one in streams if one.startswith(CATEGORY)])


async def holdings_at(
    conn: AsyncConnection, names: Sequence[str], upto: int = NOW, day: str = EVER
) -> dict[str, RecordedEvent]:
    """Return the newest holdings of each portfolio that has any, up to a position, that are not of a later day."""
    return await newest_of(conn, HOLDINGS, HoldingsRecorded.type, names, upto, day)


async def newest_of(
    conn: AsyncConnection, category: str, kind: str, names: Sequence[str], upto: int = NOW, day: str = EVER
) -> dict[str, RecordedEvent]:
    """Return the newest event of a type in each stream of a category, as `holdings_at` does."""
    streams = [category + name for name in names]
    found = await _events(conn, HELD, {"streams": streams, "type": kind, "upto": upto, "day": day})
    return {event.stream.removeprefix(category): event for event in found}


async def flows_of(
    conn: AsyncConnection, names: Sequence[str], upto: int = NOW, day: str = EVER
) -> dict[str, list[RecordedEvent]]:
    """Return the newest MOST_FLOWS records of flows of each portfolio, up to a position, the oldest first.

    There is one more in front of them if there are more.
    """
    streams = [FLOWS + name for name in names]
    events = await _events(conn, FLOWN, {"streams": streams, "upto": upto, "day": day, "most": MOST_FLOWS + 1})
    return {
        stream.removeprefix(FLOWS): list(found) for stream, found in groupby(events, key=lambda event: event.stream)
    }


async def _events(conn: AsyncConnection, query: bytes, parameters: Mapping[str, object]) -> list[RecordedEvent]:
    async with conn.cursor(row_factory=class_row(RecordedEvent)) as cursor:
        await cursor.execute(query, parameters, prepare=True)
        return await cursor.fetchall()
