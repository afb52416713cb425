"""advice-ledger access: list accesses to data of clients: reads, exports and refusals."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Any

import psycopg
import typer

from api.cli.configure import configured, opened
from api.cli.extent import Extent, From, To, Zone, parse_extent
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json, say_table
from api.cli.streams import notes_after
from api.postgres.connect import connect
from api.times import DEFAULT_ZONE
from ledger.database import Connection
from ledger.wording import counted
from projections import client_names
from projections.accesses.read import count_accesses, list_accesses

LAG = "SELECT h.position - p.position FROM projections p, head h WHERE p.name = 'accesses'"
# A line prints at most this many numbers of requests.
MOST_PRINTED = 5

Client = Annotated[
    str | None,
    typer.Option("--client", metavar="ID", show_default=False, help="Only accesses to requests of this client."),
]
Subject = Annotated[
    str | None, typer.Option(metavar="NAME", show_default=False, help="Only accesses by this person or program.")
]
Counts = Annotated[bool, typer.Option("--counts", help="Count by subject, role and day (UTC) instead.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="The most lines; the newest come first.")]


def access(  # noqa: PLR0913, PLR0917 - each option is an argument
    client: Client = None,
    subject: Subject = None,
    start: From = None,
    end: To = None,
    zone: Zone = DEFAULT_ZONE,
    counts: Counts = False,
    limit: Limit = 1000,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List who read data of clients, exported it, or was refused.

    The newest come first. A line stands for all accesses of one kind within a minute. Reads as the role reader.
    """
    with notes_after():
        filters = _filters(client, subject, parse_extent(start, end, zone))
        if counts and filters:
            raise CannotRun("--counts counts all accesses: leave out --client, --subject, --from and --to")
        settings = configured(config, database_url=database_url, data_dir=data_dir)
        with opened(settings) as url, connect(url, "reader") as conn:
            rows = _read(conn, filters, limit, counts=counts)
        if as_json:
            say_json(rows)
        elif not rows:
            say("no access is on record")
        elif counts:
            say_table(tuple(rows[0]), [tuple(_written(value) for value in row.values()) for row in rows])
        else:
            header = ("time", "subject", "role", "action", "resource", "requests", "rows", "reason")
            say_table(header, [_line(row) for row in rows])


def _filters(client: str | None, subject: str | None, extent: Extent) -> dict[str, object]:
    """Return the filters of the read model. A position limits the records themselves."""
    ends: dict[str, object] = {"from_id" if isinstance(extent.start, int) else "created_from": extent.start}
    # A position at the end is included.
    ends |= {"before_id": extent.end + 1} if isinstance(extent.end, int) else {"created_to": extent.end}
    named = {"of_client": None if client is None else unicodedata.normalize("NFC", client), "subject": subject}
    return {name: value for name, value in {**named, **ends}.items() if value is not None}


def _read(conn: Connection, filters: dict[str, object], limit: int, *, counts: bool) -> list[dict[str, Any]]:
    try:
        lag = conn.execute(LAG).fetchone()
        if "of_client" in filters:
            filters = {**filters, "of_client": client_names.names_known(conn, str(filters["of_client"]))}
        rows = count_accesses(conn, limit) if counts else list_accesses(conn, filters, limit)
    except psycopg.errors.UndefinedTable as error:
        raise CannotRun("the read model accesses was never built: run advice-ledger migrate") from error
    if lag is not None and lag[0] > 0:
        note(f"the read model accesses is {counted(lag[0], 'event')} behind: accesses there are not shown")
    return rows


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    requests = [*(row["requests"] or ()), *(f"client-{client}" for client in row["clients"] or ())]
    shown = ",".join(map(str, requests[:MOST_PRINTED])) + (f",… ({len(requests)})" if requests[MOST_PRINTED:] else "")
    names = ("created_at", "subject", "role", "action", "resource")
    return (*(_written(row[name]) for name in names), shown or "-", _written(row["rows"]), _written(row["reason"]))


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return "-" if value is None else str(value)
