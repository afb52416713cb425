"""advice-ledger case and client: show one case, or all events of a client, for a person to read."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, TypeVar

import orjson
import psycopg
import typer

from api.cli.configure import configured, opened, operator
from api.cli.extent import Extent, From, To, Zone, parse_extent, positions, positions_alone
from api.cli.recording import record_reader, recorder_of
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say
from api.cli.story_text import case_lines, timeline_lines
from api.cli.streams import notes_after
from api.postgres.connect import RoleDenied, connect
from api.settings import Settings
from api.times import DEFAULT_ZONE, zone_of
from ledger.database import AsyncConnection, Connection, Url
from ledger.errors import LedgerError
from ledger.service.accesses import Access
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.store.head import read_head
from ledger.wording import counted
from projections import client_names
from projections.story.case import read_case
from projections.story.timeline import Timeline, Window, read_timeline

T = TypeVar("T")

# The most events that are shown, as a person reads no more. --from and --to narrow them.
MOST_EVENTS = 20_000
LAG = (
    "SELECT p.name, h.position - p.position FROM projections p, head h"
    " WHERE p.name IN ('accesses', 'clients') AND p.position < h.position"
)

Request = Annotated[int, typer.Argument(min=1, metavar="NUMBER", help="The number of the request.")]
ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="An identifier of the client.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        metavar="POS|TIME",
        show_default=False,
        help="As it was known at this position, before this time, or at the end of this day. Default: now.",
    ),
]


def case(
    number: Request,
    as_of: AsOf = None,
    zone: Zone = DEFAULT_ZONE,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one case: what was asked, recommended beside decided, and all steps.

    Reads as the role reader. As the role writer, the ledger first records who looks; without that nothing is shown.
    Times are UTC and, with --zone, local too.
    """
    with notes_after():
        extent = parse_extent(None, as_of, zone)
        settings = configured(config, database_url=database_url, data_dir=data_dir)
        with opened(settings) as url:
            _, upto = _range(url, extent)
            options = tuple(name for name, given in (("as-of", as_of),) if given)
            found = _read(settings, url, "case", options, lambda conn: read_case(conn, number, upto), _of_case)
        if found is None:
            raise CannotRun(f"there is no request {number}, or there was none then")
        if as_json:
            _say_json(found)
        else:
            _say(case_lines(found, zone_of(zone)))


def client(  # noqa: PLR0913, PLR0917 - each option is an argument
    client_id: ClientId,
    start: From = None,
    end: To = None,
    zone: Zone = DEFAULT_ZONE,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show everything that took place with a client between two days, and who looked.

    An imported event took place when its source says. Other events took place when they were recorded.
    Reads as the role reader. As the role writer, the ledger first records who looks; without that nothing is shown.
    Times are UTC and, with --zone, local too.
    """
    with notes_after():
        extent = parse_extent(start, end, zone)
        settings = configured(config, database_url=database_url, data_dir=data_dir)
        name = unicodedata.normalize("NFC", client_id)
        with opened(settings) as url:
            first, last = _range(url, positions_alone(extent))
            start_at, end_at = extent.times
            options = tuple(option for option, given in (("from", start), ("to", end)) if given)

            async def work(conn: AsyncConnection) -> Timeline:
                await client_names.check_known(conn, name)
                names = (await client_names.names_of(conn, [name], last))[name]
                return await read_timeline(conn, names, Window(first, last, start_at, end_at), MOST_EVENTS)

            found = _read(settings, url, "client", options, work, lambda timeline: timeline.cases.keys())
        if found.next_position is not None:
            note(f"there are more events, from position {found.next_position} on: narrow --from and --to")
        if as_json:
            cases = [{"request_id": number, "events": events} for number, events in found.cases.items()]
            _say_json({**vars(found), "cases": cases})
        else:
            _say(timeline_lines(found, client_id, extent.text, zone_of(zone)))


def _say_json(value: object) -> None:
    say(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def _say(lines: Iterable[str]) -> None:
    say("\n".join(lines))


def _of_case(found: dict[str, Any] | None) -> Iterable[int]:
    return () if found is None else (found["request_id"],)


def _range(url: Url, extent: Extent) -> tuple[int, int]:
    """Return the first and last position, and print a note about read models that are behind. Raises CannotRun."""
    with connect(url, "reader") as conn:
        head = read_head(conn)
        if head is None:
            raise CannotRun("this database has no ledger yet: run advice-ledger migrate")
        _note_lag(conn)
        return positions(conn, extent, head.position)


def _note_lag(conn: Connection) -> None:
    for name, lag in conn.execute(LAG):
        note(f"the read model {name} is {counted(lag, 'event')} behind: what is there is not shown")


def _read(
    settings: Settings,
    url: Url,
    command: str,
    options: tuple[str, ...],
    work: Callable[[AsyncConnection], Awaitable[T]],
    requests_of: Callable[[T], Iterable[int]],
) -> T:
    """Read, record the access, and return the result. Raises CannotRun."""
    parts = LedgerParts(url, readers=2, recorder=recorder_of(settings, url))
    access = Access(operator(), "operator", "read", f"advice-ledger {command}", options)

    async def run() -> T:
        async with open_ledger(parts) as ledger:
            found = await ledger.readers.run(work)
            await record_reader(ledger, access, list(requests_of(found)))
            return found

    try:
        connect(url, "writer").close()
        return asyncio.run(run())
    except RoleDenied as error:
        raise CannotRun(f"who looks is recorded, and {error}") from error
    except (LedgerError, psycopg.errors.UndefinedTable) as error:
        raise CannotRun(str(error)) from error
