"""The events of a selection, as a condition of SQL; and the window of time of a client."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg import sql

from ledger.database import Connection
from ledger.proof.bundle.selection import Selection
from ledger.store.client_names import other_names

OF_WINDOW = sql.SQL((Path(__file__).parent / "window.sql").read_text("utf-8"))
OF_CLIENT = "e.stream IN (SELECT c.stream FROM stream_clients c WHERE c.client_id = ANY ({}))"
OF_STREAM = "e.stream = {}"
BETWEEN = "e.position BETWEEN {} AND {}"
RECORDED_AT = "SELECT e.recorded_at FROM events e WHERE e.position = %s"
EPOCH, TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def condition(selection: Selection) -> sql.Composed:
    """The SQL condition on events `e` for a selection."""
    if selection.until_us:
        names = {"clients": list(selection.names), "from_us": selection.from_us, "until_us": selection.until_us}
        return OF_WINDOW.format(**{name: sql.Literal(value) for name, value in names.items()})
    if selection.kind == "client":
        return sql.SQL(OF_CLIENT).format(sql.Literal(list(selection.names)))
    if selection.kind == "request":
        return sql.SQL(OF_STREAM).format(sql.Literal(f"request-{selection.request}"))
    return sql.SQL(BETWEEN).format(sql.Literal(selection.first_position), sql.Literal(selection.last_position))


def of_client(conn: Connection, client: str) -> Selection:
    """Select everything of a client, under all its identifiers."""
    return Selection("client", client=client, also=other_names(conn, client))


def client_within(
    conn: Connection, client: str, start: datetime | None, end: datetime | None, last_position: int
) -> Selection:
    """Select what happened with a client within [start, end); without an end, up to the event at `last_position`."""
    if end is None:
        row = conn.execute(RECORDED_AT, [last_position]).fetchone()
        end = EPOCH + TICK if row is None else row[0] + TICK
    from_us = 0 if start is None else max(0, (start - EPOCH) // TICK)
    until_us = max(from_us + 1, (end - EPOCH) // TICK)
    return replace(of_client(conn, client), from_us=from_us, until_us=until_us)
