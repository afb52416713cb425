"""Compose the events of a selection as a SQL condition, and find the window of time of a client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg import sql

from ledger.database import Connection
from ledger.proof.bundle.selection import Selection
from ledger.store.client_names import other_names

OF_WINDOW, REFERRED, NAMED, AGENTS_AND_POLICIES = (
    sql.SQL((Path(__file__).parent / f"{name}.sql").read_text("utf-8"))
    for name in ("window", "referred", "named", "agents_and_policies")
)
PARTS = {"named": NAMED, "agents_and_policies": AGENTS_AND_POLICIES}
WITH_REFERRED = REFERRED.format(**PARTS)
OF_CLIENT = "e.stream IN (SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY ({}))"
OF_STREAM = "e.stream = {}"
OF_STREAMS = "e.stream = ANY ({}) AND e.position <= {}"
BETWEEN = "e.position BETWEEN {} AND {}"
RECORDED_AT = "SELECT e.recorded_at FROM events e WHERE e.position = %s"
EPOCH, TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def condition(selection: Selection, streams: Sequence[str] = ()) -> sql.Composed:
    """Return the SQL condition on events `e` for a selection. `streams` are those of a search."""
    if selection.until_us:
        names = {"clients": list(selection.names), "from_us": selection.from_us, "until_us": selection.until_us}
        return OF_WINDOW.format(**PARTS, **{name: sql.Literal(value) for name, value in names.items()})
    if selection.kind == "client":
        return sql.SQL(OF_CLIENT).format(sql.Literal(list(selection.names)))
    if selection.kind == "request":
        return sql.SQL(OF_STREAM).format(sql.Literal(f"request-{selection.request}"))
    if selection.kind == "search":
        return sql.SQL(OF_STREAMS).format(sql.Literal(list(streams)), sql.Literal(selection.last_position))
    return sql.SQL(BETWEEN).format(sql.Literal(selection.first_position), sql.Literal(selection.last_position))


def of_client(conn: Connection, client: str) -> Selection:
    """Select everything of a client, under all its identifiers."""
    return Selection("client", client=client, also=other_names(conn, client))


def with_referred(conn: Connection, streams: Sequence[str], last_position: int) -> list[str]:
    """Return these streams, and the streams that their events up to a position refer to."""
    parameters = {"streams": list(streams), "last_position": last_position}
    return [stream for (stream,) in conn.execute(WITH_REFERRED, parameters) if stream is not None]


def client_within(
    conn: Connection, client: str, start: datetime | None, end: datetime | None, last_position: int
) -> Selection:
    """Select the events of a client that took place within [start, end).

    Without an end, the window ends with the time of the event at `last_position`. Without a start, or with one before
    1970, it has no beginning.
    """
    if end is None:
        row = conn.execute(RECORDED_AT, [last_position]).fetchone()
        end = EPOCH + TICK if row is None else row[0] + TICK
    from_us = 0 if start is None else max(0, (start - EPOCH) // TICK)
    until_us = max(from_us + 1, (end - EPOCH) // TICK)
    return replace(of_client(conn, client), from_us=from_us, until_us=until_us)
