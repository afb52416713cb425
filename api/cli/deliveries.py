"""advice-ledger monitor deliveries: list messages to endpoints, and send failed ones again."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.administration import first_rows_of, made, minute, on_ledger
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from projections.deliveries.model import DELIVERIES, DeliveryRow
from schema.events import ResendDelivery
from schema.states import DeliveryState

MOST_ROWS = 10_000

app = typer.Typer(
    help="Messages to endpoints: list them, and send failed ones again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command(name="list")
def list_deliveries(  # noqa: PLR0913, PLR0917 - each option is an argument
    state: Annotated[
        DeliveryState | None, typer.Option(show_default=False, help="Only those in this state; failed: dead letters.")
    ] = None,
    endpoint: Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="Only to this one.")] = None,
    run: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, show_default=False, help="Only those of this run.")
    ] = None,
    after: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=0, show_default=False, help="Only those after this one.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="COUNT", min=1, max=MOST_ROWS, help="The most that are listed.")] = 200,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List messages, the oldest first. If there are more, the last line says how to list them."""
    given: dict[str, Any] = {"state": state, "endpoint": endpoint, "run": run, "after_id": after}
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        filters = {name: value for name, value in given.items() if value is not None}
        rows = first_rows_of(url, DELIVERIES, DeliveryRow, limit + 1, filters)
    found = rows[:limit]
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
    elif not found:
        say("there are no such deliveries")
    else:
        header = ("delivery", "run", "endpoint", "state", "outcome", "reason", "status", "attempts", "updated (UTC)")
        say_table(header, [_cells(one) for one in found])
        if len(rows) > limit:
            say(f"there are more: --after {found[-1].id}")


@app.command()
def resend(
    delivery: Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The number of the message.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why. It is sealed.")],
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Have a message sent again that has failed, under the same id."""
    body = made(ResendDelivery, reason=reason)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        receipt = on_ledger(settings, url, lambda ledger, actor: ledger.deliveries.resend(actor, delivery, body))
    if as_json:
        say_json({"delivery": delivery, "event": receipt.position})
    else:
        say(f"delivery {delivery} is sent again by the next server that runs jobs: event {receipt.position}")


def _cells(one: DeliveryRow) -> tuple[object, ...]:
    ended = (one.outcome or "-", one.reason or "-", one.status or "-")
    return (one.id, one.run, one.endpoint, one.state, *ended, one.attempts, minute(one.updated_at))
