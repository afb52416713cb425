"""Find the streams of the events that a search finds: the selection of an export."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from psycopg import sql

from ledger.database import Connection
from ledger.store.head import position_at
from projections.client_names import names_of_client
from projections.clients.model import CLIENTS
from projections.event_index.model import EVENT_INDEX
from projections.event_search import HAS_IMPORTED, POSITION, TICK, condition, window_filters
from projections.event_texts.model import EVENT_TEXTS

STREAMS = sql.SQL("SELECT DISTINCT model.stream FROM event_index model WHERE {} LIMIT %(limit)s")
# Filters that the read model has under the same name.
SAME = ("type", "stream", "actor", "role", "model", "outcome", "amount_from", "amount_to", "text")
# What a search reads.
READ_MODELS = [model.name for model in (EVENT_INDEX, EVENT_TEXTS, CLIENTS)]
# The most streams of one export, because each query names all of them.
MOST_STREAMS = 20_000
LOOK_S = 0.1


class TooManyStreams(Exception):
    """A search finds more streams than one export may have. The message says what to do."""


def indexed_upto(conn: Connection, upto: int, *, patience_s: float, pause: Callable[[float], None] = time.sleep) -> int:
    """Wait until the read models have the events up to a position; return how far they are when the patience ends."""
    until_s = time.monotonic() + patience_s
    while True:
        row = conn.execute(POSITION, [READ_MODELS]).fetchone()
        reached = 0 if row is None else min(upto, int(row[0]))
        if reached == upto or time.monotonic() >= until_s:
            return reached
        pause(LOOK_S)


def _in_window(conn: Connection, filters: Mapping[str, str], upto: int) -> dict[str, object]:
    """Return the filters for what took place within the window of the search: as in_window(), for bulk work."""
    ends = [filters.get(name) for name in ("occurred_from", "occurred_to")]
    start, end = (None if text is None else datetime.fromisoformat(text) for text in ends)
    [(imported,)] = conn.execute(HAS_IMPORTED).fetchall()
    first = 1 if start is None or imported else position_at(conn, start - TICK) + 1
    last = upto if end is None or imported else min(upto, position_at(conn, end - TICK))
    return window_filters((first, last), (start, end), upto, imported=imported)


def found_streams(conn: Connection, filters: Mapping[str, str], upto: int) -> list[str]:
    """Return the streams with an event up to a position that all filters hold for, as `GET /events` does.

    The index has these events. Raises TooManyStreams.
    """
    last = min(upto, int(filters.get("position_to", upto)))
    named: dict[str, object] = {name: filters[name] for name in SAME if name in filters}
    named |= {"upto": upto, **_in_window(conn, filters, upto)}
    named["from_id"] = max(int(str(named["from_id"])), int(filters.get("position_from", 1)))
    named["before_id"] = min(int(str(named["before_id"])), last + 1)
    if "client" in filters:
        named["of_client"] = names_of_client(conn, int(filters["client"]), upto)
    query = STREAMS.format(condition(named))
    found = [stream for (stream,) in conn.execute(query, {**named, "limit": MOST_STREAMS + 1})]
    if len(found) > MOST_STREAMS:
        raise TooManyStreams(f"the search finds more than {MOST_STREAMS} streams: narrow it")
    return found
