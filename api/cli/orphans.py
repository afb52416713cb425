"""advice-ledger orphans: list model calls that were started and never ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import psycopg
import typer

from api.cli.configure import configured, opened
from api.cli.shared import (
    FOUND_WRONG,
    AsJson,
    CannotRun,
    ConfigFile,
    DatabaseUrl,
    DataDir,
    note,
    say,
    say_json,
    say_table,
)
from api.cli.streams import notes_after
from api.postgres.connect import connect
from api.settings import MAX_ORPHAN_AFTER_S
from ledger.database import Connection
from ledger.wording import counted
from projections.model_calls.orphans import Orphan, count_open_calls, list_orphans

LAG = "SELECT h.position - p.position FROM projections p, head h WHERE p.name = 'model_calls'"
EXISTS = "SELECT to_regclass('model_calls') IS NOT NULL"

OlderThan = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=MAX_ORPHAN_AFTER_S,
        metavar="SECONDS",
        show_default=False,
        help="Show calls that have been open for at least this long. Default: the setting orphan_after, 300.",
    ),
]


def orphans(
    older_than: OlderThan = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List model calls that were started and never ended, the oldest first.

    Their caller was killed, or still waits. Reads as the role reader. Exit code 1 if there are some.
    """
    with notes_after():
        settings = configured(config, database_url=database_url, data_dir=data_dir)
        after_s = settings.orphan_after if older_than is None else older_than
        with opened(settings) as url, connect(url, "reader") as conn:
            calls = _list(conn, after_s)
        if as_json:
            say_json(calls)
        elif calls:
            rows = [
                (call.id, call.request_id or "-", call.agent, call.model, timedelta(seconds=call.age_s))
                for call in calls
            ]
            say_table(("call", "request", "agent", "model", "age"), rows)
        else:
            say(f"no model call has been open for {after_s:g} s")
        if calls:
            raise typer.Exit(FOUND_WRONG)


def count(conn: Connection, after_s: float) -> int | None:
    """Count the calls that have been open for `after_s`; None if the read model was never built."""
    if conn.execute(EXISTS).fetchone() != (True,):
        return None
    return count_open_calls(conn, after_s).orphans


def _list(conn: Connection, after_s: float) -> list[Orphan]:
    try:
        lag = conn.execute(LAG).fetchone()
        calls = list_orphans(conn, after_s)
    except psycopg.errors.UndefinedTable as error:
        raise CannotRun("the read model model_calls was never built: run advice-ledger migrate") from error
    if lag is not None and lag[0] > 0:
        note(f"the read model model_calls is {counted(lag[0], 'event')} behind: calls there are not shown")
    return calls
