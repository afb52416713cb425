"""advice-ledger monitor recorded: list the inputs of runs that are on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import typer

from api.cli.administration import first_rows_of, on_ledger
from api.cli.configure import configured, opened
from api.cli.recording import record_reader
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.settings import Settings
from ledger.database import Url
from ledger.service.accesses import Access, ClientNumber
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from projections.corporate_actions.model import CORPORATE_ACTIONS, CorporateActionRow
from projections.flows.model import FLOWS, FlowRow
from projections.read_model import ReadModel
from projections.valuations.model import VALUATIONS, ValuationRow

MOST_ROWS = 10_000
# The most holdings of a valuation in a cell of a table; --json has all.
MOST_SHOWN = 3

Row = TypeVar("Row", CorporateActionRow, FlowRow, ValuationRow)

app = typer.Typer(
    help="Inputs of runs that are on record: corporate actions, flows and valuations.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Portfolio = Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="Only of this portfolio.")]
DayOption = Annotated[str | None, typer.Option("--date", metavar="DAY", show_default=False, help="Only of this day.")]
After = Annotated[
    int | None, typer.Option(metavar="NUMBER", min=0, show_default=False, help="Only those after this one.")
]
Limit = Annotated[int, typer.Option(metavar="COUNT", min=1, max=MOST_ROWS, help="The most that are listed.")]


@dataclass(frozen=True)
class _List(Generic[Row]):
    """A list: the rows that it reads, their name, and a table of them."""

    name: str
    read_model: ReadModel
    kind: type[Row]
    header: Sequence[str]
    cells: Callable[[Row], Sequence[object]]
    # The clients whose data the row shows.
    clients: Callable[[Row], Sequence[int]]

    def show(self, settings: Settings, given: Mapping[str, Any], limit: int, *, as_json: bool) -> None:
        """Print the rows, after the ledger has recorded who sees those of clients. Raises CannotRun."""
        filters = {name: value for name, value in given.items() if value is not None}
        with opened(settings) as url:
            rows = first_rows_of(url, self.read_model, self.kind, limit + 1, filters)
            found = rows[:limit]
            if clients := sorted({number for row in found for number in self.clients(row)}):
                _record(settings, url, self.name, tuple(sorted(filters)), clients)
        if as_json:
            say_json([row.model_dump(mode="json") for row in found])
        elif not found:
            say(f"there are no such {self.name}")
        else:
            say_table(self.header, [self.cells(row) for row in found])
            if len(rows) > limit:
                say(f"there are more: --after {found[-1].id}")


def _record(settings: Settings, url: Url, name: str, filters: tuple[str, ...], clients: Sequence[int]) -> None:
    async def work(ledger: Ledger, actor: Actor) -> None:
        access = Access(actor.id, "operator", "read", f"advice-ledger monitor recorded {name}", filters)
        await record_reader(ledger, access, [ClientNumber(number) for number in clients])

    on_ledger(settings, url, work)


def _action_cells(row: CorporateActionRow) -> Sequence[object]:
    terms = row.ratio or row.becomes or (row.price and f"{row.price} {row.currency}") or ""
    return row.id, row.asset, row.date, row.action, terms, _counts(row), row.recorded_by


def _flow_cells(row: FlowRow) -> Sequence[object]:
    about = (row.date, row.kind, row.amount or "(erased)", row.currency)
    return row.id, row.portfolio, row.reference or "(erased)", *about, _counts(row), row.recorded_by


def _valuation_cells(row: ValuationRow) -> Sequence[object]:
    return row.id, row.portfolio, row.valued_on, row.source, row.currency, _amounts(row.amounts), row.recorded_by


def _counts(row: CorporateActionRow | FlowRow) -> str:
    """Return whether the record counts, or what took its place."""
    if row.replaced_by is not None:
        return f"replaced by {row.replaced_by}"
    return "withdrawn" if row.withdrawn else "counts"


def _amounts(amounts: Mapping[str, str] | None) -> str:
    if amounts is None:
        return "(erased)"
    shown = ", ".join(f"{asset} {amount}" for asset, amount in list(amounts.items())[:MOST_SHOWN])
    more = len(amounts) - MOST_SHOWN
    return f"{shown}, and {more} more" if more > 0 else shown


ACTIONS = _List(
    "actions",
    CORPORATE_ACTIONS,
    CorporateActionRow,
    ("record", "asset", "day", "action", "terms", "state", "recorded by"),
    _action_cells,
    lambda _: (),
)
FLOW_LIST = _List(
    "flows",
    FLOWS,
    FlowRow,
    ("record", "portfolio", "reference", "day", "kind", "amount", "currency", "state", "recorded by"),
    _flow_cells,
    lambda row: (row.client,),
)
VALUATION_LIST = _List(
    "valuations",
    VALUATIONS,
    ValuationRow,
    ("record", "portfolio", "day", "source", "currency", "values", "recorded by"),
    _valuation_cells,
    lambda row: (row.client,),
)


@app.command()
def actions(  # noqa: PLR0913, PLR0917 - each option is an argument
    asset: Annotated[str | None, typer.Option(metavar="ASSET", show_default=False, help="Only of this asset.")] = None,
    action: Annotated[
        Literal["split", "renamed", "delisted"] | None, typer.Option(show_default=False, help="Only of this kind.")
    ] = None,
    date: DayOption = None,
    after: After = None,
    limit: Limit = 200,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List corporate actions, the oldest first: what was recorded, also what was corrected later or taken back."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    given = {"asset": asset, "action": action, "date": date, "after_id": after}
    ACTIONS.show(settings, given, limit, as_json=as_json)


@app.command()
def flows(  # noqa: PLR0913, PLR0917 - each option is an argument
    portfolio: Portfolio = None,
    kind: Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="Only of this kind.")] = None,
    date: DayOption = None,
    after: After = None,
    limit: Limit = 200,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List flows of portfolios, the oldest first, also those corrected later. The ledger first records who looks."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    given = {"portfolio": portfolio, "kind": kind, "date": date, "after_id": after}
    FLOW_LIST.show(settings, given, limit, as_json=as_json)


@app.command()
def valuations(  # noqa: PLR0913, PLR0917 - each option is an argument
    portfolio: Portfolio = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="Only by this one.")] = None,
    date: DayOption = None,
    after: After = None,
    limit: Limit = 200,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List valuations by custodians, the oldest first. The ledger first records who looks."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    given = {"portfolio": portfolio, "source": source, "valued_on": date, "after_id": after}
    VALUATION_LIST.show(settings, given, limit, as_json=as_json)
