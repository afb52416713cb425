"""Record who exports what, before the bundle is written."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from api.cli.configure import operator
from api.cli.shared import CannotRun, note
from api.postgres.connect import DatabaseError, connect
from ledger.database import Connection, Url, one_line
from ledger.proof.bundle.selection import Selection
from ledger.service.accesses import Access, record_now
from ledger.store.recorder import Recorder
from schema.accesses import MOST_SHOWN

REQUESTS_AMONG = (
    "SELECT r.id FROM unnest(%s::text[]) AS s (name), stream_number(s.name, 'request-') AS r (id)"
    " WHERE r.id IS NOT NULL ORDER BY r.id DESC"
)
STANDBY = "SELECT pg_is_in_recovery()"
REQUESTS_OF_CLIENT = (
    "SELECT r.id, count(*) OVER () FROM stream_clients c, stream_number(c.stream, 'request-') AS r (id)"
    " WHERE c.client_id = ANY (%s) AND r.id IS NOT NULL ORDER BY r.id DESC LIMIT %s"
)


def record_export(
    conn: Connection,
    url: Url,
    selection: Selection,
    options: tuple[str, ...],
    recorder: Recorder | None,
    streams: Sequence[str] = (),
) -> None:
    """Record this user's export. `conn` has the role verifier. Raises CannotRun if it cannot be recorded.

    A standby records nothing. There, and only there, a note says that the export is not recorded.
    """
    if conn.execute(STANDBY).fetchone() == (True,):
        note("it is not recorded who exports this: the database is a standby")
        return
    requests, rows = _extent(conn, selection, streams)
    access = Access(operator(), "operator", "export", "advice-ledger export", options)
    try:
        with connect(url, "writer") as writer:
            record_now(writer, access, requests, rows, recorder)
    except (psycopg.Error, DatabaseError) as error:
        reason = one_line(error) if isinstance(error, psycopg.Error) else str(error)
        raise CannotRun(f"nothing is exported, as it cannot be recorded who exports it: {reason}") from error


def _extent(conn: Connection, selection: Selection, streams: Sequence[str]) -> tuple[list[int], int]:
    """Return the exported requests, at most as many as an event may name, and their total number.

    For a range, return no requests and the number of its positions.
    """
    if selection.kind == "request":
        return [selection.request], 1
    if selection.kind == "search":
        numbers = [number for (number,) in conn.execute(REQUESTS_AMONG, [list(streams)])]
        return numbers[:MOST_SHOWN], len(numbers)
    if selection.kind == "positions":
        return [], selection.last_position - selection.first_position + 1
    found = conn.execute(REQUESTS_OF_CLIENT, [list(selection.names), MOST_SHOWN]).fetchall()
    return [request for request, _ in found], found[0][1] if found else 0
