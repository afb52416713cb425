"""advice-ledger erasures: confirm, decline, list, show, certificate, propose, dispose, keep, reapply, scrub."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.administration import catch_up, made, minute, on_ledger, record_look, rows_of
from api.cli.configure import configured, opened
from api.cli.disposals import dispose, propose
from api.cli.erasure_certificate import certificate
from api.cli.erasures_kept import keep, reapply
from api.cli.erasures_scrub import scrub
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.postgres.connect import connect
from ledger.database import Url
from ledger.domain.client import number_of
from ledger.wording import counted
from projections.clients.model import CLIENTS
from projections.erasures.model import ERASURES, ErasureRow
from projections.scrubbed import ShownErasure, shown
from schema.events import DeclineErasure

app = typer.Typer(
    help="Erasures of clients. `advice-ledger erase` requests one. Every act, and who looks, is recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.command()(certificate)
app.command()(propose)
app.command()(dispose)
app.command()(keep)
app.command()(reapply)
app.command()(scrub)

Id = Annotated[int, typer.Argument(metavar="ERASURE", min=1, help="The id of the erasure.")]


@app.command()
def confirm(
    erasure: Id,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Erase the client, at the request of another subject. It cannot be undone.

    A legal hold that was placed meanwhile refuses it, and that is recorded too.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        catch_up(url, CLIENTS)
        receipt = on_ledger(settings, url, lambda ledger, actor: ledger.erasures.confirm(actor, erasure))
    client = number_of(receipt.stream)
    if as_json:
        say_json({"client": client, "erasure": erasure, "event": receipt.position})
    else:
        say(f"client {client} is erased: event {receipt.position}")


@app.command()
def decline(
    erasure: Id,
    rationale: Annotated[str, typer.Option(metavar="TEXT", help="Why. It is sealed.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Decline an erasure that waits, or withdraw it."""
    body = made(DeclineErasure, rationale=rationale)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        receipt = on_ledger(settings, url, lambda ledger, actor: ledger.erasures.decline(actor, erasure, body))
    if as_json:
        say_json({"client": number_of(receipt.stream), "erasure": erasure, "event": receipt.position})
    else:
        say(f"erasure {erasure} is declined: event {receipt.position}")


@app.command(name="list")
def list_erasures(
    client: Annotated[
        int | None, typer.Option(metavar="N", min=1, show_default=False, help="Only those of this client.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List erasures, the oldest first, also those that were refused."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    filters: dict[str, Any] = {} if client is None else {"client": client}
    with opened(settings) as url:
        found = _shown(url, rows_of(url, ERASURES, ErasureRow, **filters))
        record_look(settings, url, "erasures list", tuple(sorted(filters)), len(found))
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    titles = (
        "erasure",
        "client",
        "state",
        "reason",
        "requested by",
        "requested (UTC)",
        "answered by",
        "values",
        "out of files",
    )
    rows = [
        (
            *(one.id, one.client, one.state, one.reason, one.requested_by, minute(one.created_at)),
            *(one.answered_by or "", one.values or 0, minute(one.scrubbed_at)),
        )
        for one in found
    ]
    say_table(titles, rows)


@app.command()
def show(
    erasure: Id,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one erasure: who requested it, who answered, and what was erased or forbade it."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = _shown(url, rows_of(url, ERASURES, ErasureRow, id=erasure))
        record_look(settings, url, "erasures show", (), len(found))
    if not found:
        raise CannotRun(f"there is no erasure {erasure}; advice-ledger erasures list shows them")
    [one] = found
    if as_json:
        say_json(one.model_dump(mode="json"))
        return
    say(f"erasure     {one.id} of client {one.client}: {one.state}")
    why = " ".join(filter(None, (one.reason, one.reference)))
    say(f"requested   by {one.requested_by} at {minute(one.created_at)} (UTC): {why}")
    if one.answered_by is not None:
        say(f"answered    by {one.answered_by} at {minute(one.answered_at)} (UTC), event {one.answer_position}")
    if one.state == "erased":
        since = minute(one.scrubbed_at)
        say(f"files       {f'without its values since {since} (UTC)' if since else 'not scrubbed since'}")
    if one.events is not None and one.streams is not None:
        say(f"values      {one.values} of {counted(one.events, 'event')} in {counted(one.streams, 'stream')}")
    if one.reapplies:
        say(f"again       after a restore: {', '.join(f'{name} {value}' for name, value in one.reapplies.items())}")
    if one.forbidden:
        say(f"forbidden   {', '.join(f'{name} {value}' for name, value in one.forbidden.items())}")


def _shown(url: Url, rows: list[ErasureRow]) -> list[ShownErasure]:
    with connect(url, "reader") as conn:
        return shown(conn, rows)
