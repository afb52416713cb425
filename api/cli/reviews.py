"""advice-ledger reviews: list the decisions to be reviewed, with their reviewers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from api.cli.administration import record_look, rows_of
from api.cli.configure import configured, opened
from api.cli.samples import show_items
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say_json
from projections.review_items.model import REVIEW_ITEMS, ReviewItemRow
from schema.states import ReviewItemState

app = typer.Typer(
    help="The queue of reviews: decisions that samples chose.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def group() -> None:
    """Make a group, so that `queue` is a command of its own."""


@app.command()
def queue(
    assignee: Annotated[
        str | None, typer.Option(metavar="NAME", show_default=False, help="Only items of this subject.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, show_default=False, help="Only items of this sample.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were reviewed.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List the decisions that are to be reviewed, the oldest item first. Who looks is recorded."""
    given: dict[str, Any] = {"assignee": assignee, "sample": sample, "state": None if every else ReviewItemState.OPEN}
    filters = {name: value for name, value in given.items() if value is not None}
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = rows_of(url, REVIEW_ITEMS, ReviewItemRow, **filters)
        record_look(settings, url, "reviews queue", tuple(sorted(filters)), len(found))
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
    else:
        show_items(found)
