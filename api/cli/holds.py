"""advice-ledger holds: place legal holds, release them, list them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from api.cli.administration import made, minute, on_ledger, record_look, rows_of
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.settings import Settings
from ledger.service.ledger import Ledger
from ledger.service.legal_holds import client_of
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from projections.legal_holds.model import LEGAL_HOLDS, LegalHoldRow
from schema.events import PlaceHold, ReleaseHold
from schema.states import LegalHoldState

app = typer.Typer(
    help="Legal holds, which keep the records of a client from being erased. Every change, and who looks, is recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why. It is sealed.")]


@app.command()
def place(
    number: Annotated[int, typer.Argument(metavar="N", min=1, help="The number of the client.")],
    reason: Reason,
    request: Annotated[
        int | None, typer.Option(metavar="N", min=1, show_default=False, help="Only the case of this request.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Place a hold on a client. While it stands, nothing of the client is erased."""
    hold = made(PlaceHold, reason=reason, request_id=request)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    receipt = _record(settings, lambda ledger, actor: ledger.legal_holds.place(actor, number, hold))
    if as_json:
        say_json({"client": number, "hold": receipt.position})
    else:
        say(f"legal hold {receipt.position} of client {number} is placed")


@app.command()
def release(
    hold: Annotated[int, typer.Argument(metavar="HOLD", min=1, help="The id of the hold.")],
    reason: Reason,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Release a hold. Other holds of the client stand."""
    event = made(ReleaseHold, reason=reason)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    receipt = _record(settings, lambda ledger, actor: ledger.legal_holds.release(actor, hold, event))
    if as_json:
        say_json({"client": client_of(receipt), "hold": hold, "position": receipt.position})
    else:
        say(f"legal hold {hold} of client {client_of(receipt)} is released: event {receipt.position}")


@app.command(name="list")
def list_holds(
    client: Annotated[
        int | None, typer.Option(metavar="N", min=1, show_default=False, help="Only those of this client.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were released.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List the legal holds that stand, the oldest first."""
    filters: dict[str, Any] = {} if client is None else {"client": client}
    if not every:
        filters["state"] = LegalHoldState.ACTIVE
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = rows_of(url, LEGAL_HOLDS, LegalHoldRow, **filters)
        record_look(settings, url, "holds list", tuple(sorted(filters)), len(found))
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (
            one.id,
            one.client,
            one.request_id or "",
            one.placed_by,
            minute(one.created_at),
            minute(one.released_at),
            one.reason or "erased",
        )
        for one in found
    ]
    say_table(("hold", "client", "request", "placed by", "placed (UTC)", "released (UTC)", "reason"), rows)


def _record(settings: Settings, work: Callable[[Ledger, Actor], Awaitable[Receipt]]) -> Receipt:
    with opened(settings) as url:
        return on_ledger(settings, url, work)
