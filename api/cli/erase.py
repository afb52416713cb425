"""advice-ledger erase: request the erasure of a client, or say what it would delete."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.administration import catch_up, made, on_ledger
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json
from ledger.service.erasures import Found
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from ledger.wording import counted
from projections.clients.model import CLIENTS
from schema.events import RequestErasure


def erase(  # noqa: PLR0913, PLR0917 - each option is an argument
    number: Annotated[int, typer.Argument(metavar="N", min=1, help="The number of the client.")],
    reason: Annotated[
        str,
        typer.Option(
            metavar="REASON",
            help="client-request, retention-over, recorded-in-error or authority-order. Kept in clear.",
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(metavar="TEXT", show_default=False, help="A ticket, such as DSR-2026/17. Kept in clear for good."),
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Sealed, and erased too.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would delete. Record nothing.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Request the erasure of a client: all its sealed values.

    It is of all identifiers of the client. Another subject confirms it: `advice-ledger erasures confirm`. A legal hold
    or the retention policy refuses it, and that is recorded too.
    """
    body = made(RequestErasure, reason=reason, reference=reference, note=note)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        catch_up(url, CLIENTS)
        if dry_run:
            _say(on_ledger(settings, url, lambda ledger, actor: ledger.erasures.look(actor, number)), as_json)
            return

        async def run(ledger: Ledger, actor: Actor) -> int:
            return (await ledger.erasures.request(actor, number, body)).position

        erasure = on_ledger(settings, url, run)
    if as_json:
        say_json({"client": number, "erasure": erasure, "state": "waiting"})
    else:
        say(f"erasure {erasure} of client {number} waits: another subject confirms it")


def _say(found: Found, as_json: bool) -> None:
    contents = found.contents
    if as_json:
        forbidden = None if found.forbidden is None else found.forbidden.model_dump(mode="json", exclude_none=True)
        counts = {"streams": len(contents.versions), "events": contents.events, "values": contents.values}
        say_json({"client": found.number, "clients": found.numbers, **counts, "forbidden": forbidden})
        return
    values, events = counted(contents.values, "sealed value"), counted(contents.events, "event")
    say(f"{values} of {events} in {counted(len(contents.versions), 'stream')}")
    say(f"numbers     {' '.join(map(str, found.numbers))}")
    if found.forbidden is None:
        say("nothing forbids the erasure")
    for hold in (found.forbidden and found.forbidden.holds) or ():
        say(f"forbidden   by legal hold {hold}")
    if found.forbidden is not None and found.forbidden.possible_from is not None:
        why = f"class {found.forbidden.retention_class}, until {found.forbidden.kept_until}"
        say(f"forbidden   before {found.forbidden.possible_from} by the retention policy ({why})")
