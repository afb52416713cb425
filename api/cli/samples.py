"""advice-ledger samples: draw samples of decisions to review, list and show them, and draw one again."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from api.cli.administration import catch_up, made, minute, on_ledger, record_look, rows_of
from api.cli.configure import configured, opened
from api.cli.monitor import refusals_told
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.sampling import Redrawn, finding, redraw
from api.times import BadTime, end, parse, start
from ledger.database import Url
from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from projections.decisions.model import DECISIONS
from projections.review_items.model import REVIEW_ITEMS, ReviewItemRow
from projections.samples.model import SAMPLES, SampleRow
from schema.samples import DrawSample

app = typer.Typer(
    help="Samples of decisions to review: drawn by a seed, so that anybody can draw them again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

# The rules of weights: the name that is typed, and the member of the rule.
CONDITIONS = {"amount": "amount_usd_at_least", "risk": "risk_profile", "before": "decided_before"}

Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The number of the sample.")]
First = Annotated[str, typer.Option("--from", metavar="DAY", help="Decisions of this day and later, in UTC.")]
Last = Annotated[str, typer.Option("--to", metavar="DAY", help="Decisions up to this day, which is included.")]
Reviewers = Annotated[list[str], typer.Option("--reviewer", metavar="NAME", help="Who reviews, in turn. Repeatable.")]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        metavar="RULE",
        show_default=False,
        help="Points for a decision: overridden:POINTS, amount:USD:POINTS, risk:PROFILE:POINTS or before:DAY:POINTS."
        " Repeatable.",
    ),
]


@app.command()
def draw(  # noqa: PLR0913, PLR0917 - each option is an argument
    since: First,
    until: Last,
    size: Annotated[int, typer.Option(min=1, max=1000, metavar="COUNT", help="How many decisions.")],
    reviewer: Reviewers,
    weight: Weights = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only answers of this agent.")] = None,
    decided_by: Annotated[str | None, typer.Option(metavar="NAME", help="Only decisions of this subject.")] = None,
    overridden: Annotated[bool, typer.Option("--overridden", help="Only edits and rejections.")] = False,
    unreviewed: Annotated[bool, typer.Option("--unreviewed", help="Only decisions that nobody has reviewed.")] = False,
    seed: Annotated[
        str | None, typer.Option(metavar="HEX", show_default=False, help="32 bytes. Default: drawn at random.")
    ] = None,
    due: Annotated[
        str | None, typer.Option(metavar="DAY", help="To be reviewed by the end of this day, in UTC.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Draw a sample of the decisions of a period, and assign each that was chosen to a reviewer."""
    wanted = made(
        DrawSample,
        decided_from=_day(since),
        decided_to=_day(until, last=True),
        size=size,
        reviewers=reviewer,
        weights=None if weight is None else [_weight(text) for text in weight],
        agent=agent,
        decided_by=decided_by,
        overridden=overridden or None,
        unreviewed=unreviewed or None,
        seed=seed,
        due_at=None if due is None else _day(due, last=True),
    )
    settings = configured(config, database_url=database_url, data_dir=data_dir)

    async def work(ledger: Ledger, actor: Actor) -> Receipt:
        return await ledger.samples.draw(actor, wanted, finding(ledger, wanted))

    with opened(settings) as url, refusals_told():
        for read_model in (DECISIONS, SAMPLES):
            catch_up(url, read_model)
        number = int(on_ledger(settings, url, work).stream.rpartition("-")[2])
        [sample] = rows_of(url, SAMPLES, SampleRow, id=number)
    if as_json:
        say_json(sample.model_dump(mode="json"))
    else:
        say(f"sample {number}: {len(sample.chosen)} of {sample.population} decisions, as of position {sample.upto}")
        say(f"seed {sample.seed}, chosen by the {sample.seed_from}")


@app.command(name="list")
def list_samples(
    as_json: AsJson = False, database_url: DatabaseUrl = None, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List the samples, the oldest first."""
    with opened(configured(config, database_url=database_url, data_dir=data_dir)) as url:
        found = rows_of(url, SAMPLES, SampleRow)
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (
            one.id,
            one.decided_from,
            one.decided_to,
            f"{len(one.chosen)} of {one.population}",
            one.drawn_by,
            minute(one.created_at),
        )
        for one in found
    ]
    say_table(("sample", "decided from", "and before", "chosen", "drawn by", "drawn (UTC)"), rows)


@app.command()
def show(
    number: Number,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show a sample, and how far its reviews are. Who looks is recorded."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        found = rows_of(url, SAMPLES, SampleRow, id=number)
        if not found:
            raise CannotRun(f"there is no sample {number}; advice-ledger samples list shows them")
        items = rows_of(url, REVIEW_ITEMS, ReviewItemRow, sample=number)
        record_look(settings, url, "samples show", ("sample",), len(items))
    if as_json:
        say_json({**found[0].model_dump(mode="json"), "items": [one.model_dump(mode="json") for one in items]})
        return
    [sample] = found
    say(f"sample      {number}, as of position {sample.upto}, by {sample.drawn_by}")
    say(f"chosen      {len(sample.chosen)} of {sample.population} decisions")
    say(f"seed        {sample.seed}, chosen by the {sample.seed_from}")
    show_items(items)


@app.command(name="redraw")
def draw_again(
    number: Number,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Draw a recorded sample again, from the events up to its position, and compare.

    Exit code 0 if it is the same, 1 if it differs.
    """
    with opened(configured(config, database_url=database_url, data_dir=data_dir)) as url, refusals_told():
        again = asyncio.run(_redrawn(url, number))
    if as_json:
        say_json({**asdict(again), "differences": again.differences})
    else:
        _compare(again)
    raise typer.Exit(FOUND_WRONG if again.differences else 0)


def show_items(items: list[ReviewItemRow]) -> None:
    """Print items of the queue as a table."""
    rows = [
        (one.id, one.sample, one.request_id, one.decision_id, one.assignee, one.state, one.due_at or "")
        for one in items
    ]
    say_table(("item", "sample", "request", "decision", "assignee", "state", "due"), rows)


async def _redrawn(url: Url, number: int) -> Redrawn:
    async with open_ledger(LedgerParts(url, readers=2, read_only=True)) as ledger:
        return await redraw(ledger, number)


def _compare(again: Redrawn) -> None:
    say(f"sample      {again.sample}, as of position {again.upto}")
    say(f"recorded    {len(again.chosen)} of {again.population} decisions, digest {again.population_digest}")
    say(f"drawn again {len(again.chosen_again)} of {again.population_again}, digest {again.population_digest_again}")
    say(f"different: {', '.join(again.differences)}" if again.differences else "identical: the same decisions")


def _day(text: str, *, last: bool = False) -> str:
    """Return the first instant of a day, or of the day after it, in the form that events have. Raises CannotRun."""
    try:
        found = parse(text)
        time = found if isinstance(found, datetime) else (end if last else start)(found, UTC)
    except BadTime as error:
        raise CannotRun(f"{text!r} is not {error}") from error
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _weight(text: str) -> dict[str, Any]:
    """Parse a rule of weights. Raises CannotRun."""
    match text.split(":"):
        case ["overridden", points] if points.isdecimal():
            return {"points": int(points), "overridden": True}
        case [kind, limit, points] if kind in CONDITIONS and points.isdecimal():
            value = _day(limit) if kind == "before" else limit
            return {"points": int(points), CONDITIONS[kind]: value}
    raise CannotRun(f"{text!r} is not a weight: use for example overridden:5 or amount:1000000:3")
