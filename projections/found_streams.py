"""Find the streams with an event that a search of the events finds: the selection of an export."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from psycopg import sql

from ledger.database import Connection
from projections.event_index.model import EVENT_INDEX
from projections.event_search import condition

STREAMS = sql.SQL("SELECT DISTINCT model.stream FROM event_index model WHERE {} LIMIT %(most)s")
POSITION = "SELECT position FROM projections WHERE name = %s"
# Filters of the read model that have another name. The end of a range of positions is included.
RENAMED = {"position_from": "from_id", "recorded_from": "created_from", "recorded_to": "created_to"}
# More streams than these are not one export: their names stand in each query.
MOST_STREAMS = 20_000
LOOK_S = 0.1


class TooManyStreams(Exception):
    """A search finds more streams than one export has. The message says what to do."""


def indexed_upto(conn: Connection, upto: int, *, patience_s: float, pause: Callable[[float], None] = time.sleep) -> int:
    """Wait until the index has the events up to a position; return how far it is if the patience ends before."""
    until_s = time.monotonic() + patience_s
    while True:
        row = conn.execute(POSITION, [EVENT_INDEX.name]).fetchone()
        reached = 0 if row is None else min(upto, int(row[0]))
        if reached == upto or time.monotonic() >= until_s:
            return reached
        pause(LOOK_S)


def found_streams(conn: Connection, filters: Mapping[str, str], upto: int) -> list[str]:
    """Return the streams with an event up to a position that all filters hold for, as `GET /events` does.

    The index has these events. Raises TooManyStreams.
    """
    last = min(upto, int(filters.get("position_to", upto)))
    named: dict[str, object] = {RENAMED.get(name, name): value for name, value in filters.items()}
    named = {name: value for name, value in named.items() if name != "position_to"} | {"before_id": last + 1}
    query = STREAMS.format(condition(named))
    found = [stream for (stream,) in conn.execute(query, {**named, "most": MOST_STREAMS + 1})]
    if len(found) > MOST_STREAMS:
        raise TooManyStreams(f"the search finds more than {MOST_STREAMS} streams: narrow it")
    return found
