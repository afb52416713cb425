"""advice-ledger orphans: model calls that were started and never ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

import psycopg
import typer
from psycopg.rows import class_row

from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, DatabaseUrl, DataDir, note, opened, say, say_json, say_table
from api.postgres.connect import connect
from ledger.database import Connection

AFTER_S = 300.0
# Up to 30 years, so that a time can be reckoned from it.
MOST_S = 1e9

COUNT = """
    SELECT count(*) FROM model_calls
    WHERE state = 'open' AND created_at <= clock_timestamp() - %s * interval '1 second'
"""
LIST = """
    SELECT id, request_id, agent, request_model AS model, created_at,
           floor(extract(epoch FROM clock_timestamp() - created_at))::bigint AS age_s
    FROM model_calls
    WHERE state = 'open' AND created_at <= clock_timestamp() - %s * interval '1 second'
    ORDER BY created_at, id
"""
LAG = "SELECT h.position - p.position FROM projections p, head h WHERE p.name = 'model_calls'"
EXISTS = "SELECT to_regclass('model_calls') IS NOT NULL"

OlderThan = Annotated[
    float, typer.Option(min=0, max=MOST_S, metavar="SECONDS", help="Show calls that were started so long ago.")
]


@dataclass(frozen=True)
class Orphan:
    """A model call without an end. `request_id` is None for one that belongs to no request."""

    id: int
    request_id: int | None
    agent: str
    model: str
    created_at: datetime
    age_s: int


def orphans(
    ctx: typer.Context,
    older_than: OlderThan = AFTER_S,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """List model calls that were started and never ended, the oldest first.

    Whoever made them was killed, or is still waiting. Reads as the role reader. Exit code 1 when there are some.
    """
    with opened(ctx, database_url, data_dir) as url, connect(url, "reader") as conn:
        found = _look(conn, older_than)
    if as_json:
        say_json(found)
    elif found:
        rows = [(one.id, one.request_id or "-", one.agent, one.model, timedelta(seconds=one.age_s)) for one in found]
        say_table(("call", "request", "agent", "model", "age"), rows)
    else:
        say(f"no model call has been open for {older_than:g} s")
    if found:
        raise typer.Exit(FOUND_WRONG)


def count(conn: Connection) -> int | None:
    """How many there are after the usual time; None while the read model was never built."""
    if conn.execute(EXISTS).fetchone() != (True,):
        return None
    row = conn.execute(COUNT, [AFTER_S]).fetchone()
    return int(row[0]) if row else None


def _look(conn: Connection, older_than_s: float) -> list[Orphan]:
    try:
        lag = conn.execute(LAG).fetchone()
        with conn.cursor(row_factory=class_row(Orphan)) as cursor:
            found = cursor.execute(LIST, [older_than_s]).fetchall()
    except psycopg.errors.UndefinedTable as error:
        raise CannotRun("the read model model_calls was never built: run advice-ledger migrate") from error
    if lag is not None and lag[0] > 0:
        note(f"the read model model_calls is {lag[0]} events behind: what they hold is not seen here")
    return found
