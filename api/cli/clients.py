"""advice-ledger clients: register, look up, assign, add aliases, merge, and import assignments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from api.assignment_lines import MOST_LINE_BYTES, parse
from api.cli.administration import made, minute, on_ledger, record_look, rows_of
from api.cli.bars import progress
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json, say_table
from api.settings import Settings
from api.times import BadTime, start
from api.times import parse as parse_time
from ledger.domain.client import number_of, second
from ledger.errors import InvalidLines
from ledger.service.bulk_assignments import MOST_LINES
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from projections.clients.model import CLIENTS, ClientRow, prefix_range
from schema.events import ClientAssigned, ClientMerged, ClientRegistered, ClientUnassigned
from schema.fields import nfc

app = typer.Typer(
    help="Clients, their identifiers, and to whom they are assigned. Every change, and who looks, is recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The number of the client.")]
Identifier = Annotated[str, typer.Argument(metavar="IDENTIFIER", help="The identifier, as other systems know it.")]
Subject = Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="The assigned subject.")]
Group = Annotated[str | None, typer.Option(metavar="GROUP", show_default=False, help="The assigned group.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", show_default=False, help="From when on, as 2030-01-31.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", show_default=False, help="Before when, as 2030-01-31.")]


@app.command()
def add(
    identifier: Identifier,
    subject: Subject = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Register a client, perhaps assigned to a subject from the start."""
    event = made(ClientRegistered, client_id=identifier, subject=subject)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _named(settings, lambda ledger, actor: ledger.clients.register(actor, event), as_json)


@app.command()
def alias(
    number: Number,
    identifier: Identifier,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Add another identifier of a client."""
    client_id = made(ClientRegistered, client_id=identifier).client_id
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _named(settings, lambda ledger, actor: ledger.clients.alias(actor, number, client_id), as_json)


@app.command(name="list")
def list_clients(  # noqa: PLR0913, PLR0917 - each option is an argument
    identifier: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Only the one with this identifier.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Only identifiers that begin with this.")
    ] = None,
    subject: Subject = None,
    group: Group = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List clients: number, identifier, to whom they are assigned, into which client they were merged."""
    given = {"client_id": identifier, "prefix": prefix, "subject": subject, "group": group}
    filters: dict[str, Any] = {name: nfc(value) for name, value in given.items() if value}
    names = tuple(sorted(filters))
    if "client_id" in filters:
        filters["client_id"] = [filters["client_id"]]
    if "prefix" in filters:
        filters |= prefix_range(filters.pop("prefix"))
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = rows_of(url, CLIENTS, ClientRow, **filters)
        record_look(settings, url, "clients list", names, len(found))
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (
            one.id,
            one.client_id or "erased",
            " ".join((*one.subjects, *one.groups)),
            one.merged_into or "",
            minute(one.created_at),
        )
        for one in found
    ]
    say_table(("number", "identifier", "assigned to", "merged into", "registered (UTC)"), rows)


@app.command()
def show(
    number: Number,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one client and its assignments."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = rows_of(url, CLIENTS, ClientRow, numbers_in_scope=[number])
        record_look(settings, url, "clients show", (), len(found))
    if not found:
        raise CannotRun(f"there is no client {number}; advice-ledger clients list shows them")
    [client] = found
    if as_json:
        say_json(client.model_dump(mode="json"))
        return
    say(f"number      {client.id}")
    say(f"identifier  {client.client_id or 'erased'}")
    if client.merged_into is not None:
        say(f"merged      into client {client.merged_into}, event {client.merged_position}")
    for one in client.assignments:
        who = f"subject {one.subject}" if one.subject is not None else f"group {one.group}"
        times = f"from {minute(one.since) or 'ever'} until {minute(one.until) or 'ever'}"
        say(f"assigned    to {who}, {times} (UTC), event {one.position}")


@app.command()
def assign(  # noqa: PLR0913, PLR0917 - each option is an argument
    number: Number,
    subject: Subject = None,
    group: Group = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Assign a client to a subject or a group. It replaces an earlier assignment of the same one."""
    event = made(ClientAssigned, subject=subject, group=group, since=_second(since), until=_second(until))
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _changed(settings, number, event.type, lambda ledger, actor: ledger.clients.assign(actor, number, event), as_json)


@app.command()
def unassign(
    number: Number,
    subject: Subject = None,
    group: Group = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End the assignment of a client to a subject or a group."""
    event = made(ClientUnassigned, subject=subject, group=group)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _changed(settings, number, event.type, lambda ledger, actor: ledger.clients.unassign(actor, number, event), as_json)


@app.command()
def merge(
    number: Number,
    into: Annotated[int, typer.Option(metavar="M", min=1, help="The number of the client that it is.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record that a client is another one. It cannot be undone."""
    event = made(ClientMerged, into=into)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _changed(settings, number, event.type, lambda ledger, actor: ledger.clients.merge(actor, number, event), as_json)


@app.command(name="import")
def import_assignments(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="NDJSON: one assignment on each line.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Assign the clients in a file, in batches of 1000 lines, each of which is recorded whole or not at all.

    Nothing is recorded if a line is not an assignment. A line that changes nothing records nothing, so the
    same file can be imported again.
    """
    total = 0
    for first, lines in _batches(file):
        with _bad_lines_told("nothing is recorded"):
            parse(lines, first)
        total = first + len(lines) - 1
    if not total:
        raise CannotRun(f"{file} is empty")
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, progress() as on_progress:

        async def run(ledger: Ledger, actor: Actor) -> int:
            recorded = 0
            for first, lines in _batches(file):
                last = first + len(lines) - 1
                with _bad_lines_told(f"nothing of lines {first} to {last} is recorded"):
                    recorded += len(await ledger.assignments.assign(actor, parse(lines, first)))
                on_progress("assignments", last, total)
            return recorded

        assigned = on_ledger(settings, url, run)
    if as_json:
        say_json({"lines": total, "assigned": assigned})
    else:
        say(f"{total} lines, {assigned} of them recorded as assignments")


def _batches(file: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Yield lines of a file in batches, each with the number of its first line. Longer lines are cut, and refused."""
    with file.open("rb") as opened_file:
        lines = iter(lambda: opened_file.readline(MOST_LINE_BYTES + 2), b"")
        first = 1
        while batch := list(islice(lines, MOST_LINES)):
            yield first, batch
            first += len(batch)


@contextmanager
def _bad_lines_told(outcome: str) -> Iterator[None]:
    """Print each wrong line. Raises CannotRun if lines are wrong."""
    try:
        yield
    except InvalidLines as error:
        for field, reason in error.errors:
            note(f"{field}: {reason}")
        raise CannotRun(f"lines are not valid: {outcome}") from error


def _named(settings: Settings, work: Callable[[Ledger, Actor], Awaitable[Receipt]], as_json: bool) -> None:
    with opened(settings) as url:
        receipt = on_ledger(settings, url, work)
    number = number_of(receipt.stream)
    if as_json:
        say_json({"client": number, "position": receipt.position})
    else:
        say(f"registered as client {number}, event {receipt.position}")


def _changed(
    settings: Settings, number: int, what: str, work: Callable[[Ledger, Actor], Awaitable[Receipt]], as_json: bool
) -> None:
    with opened(settings) as url:
        receipt = on_ledger(settings, url, work)
    if as_json:
        say_json({"client": number, "event": what, "position": receipt.position})
    else:
        say(f"{what} of client {number}: recorded as event {receipt.position}")


def _second(text: str | None) -> str | None:
    """Return a time or date of the command line in the form of events about clients. Raises CannotRun."""
    try:
        return None if text is None else second(start(parse_time(text), UTC))
    except BadTime as error:
        raise CannotRun(f"{text!r} is not {error}") from error
