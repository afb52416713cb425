"""advice-ledger monitor actions, flows, holdings, valuations: record the inputs of runs from NDJSON or CSV files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from api.cli.administration import on_ledger
from api.cli.bars import progress
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json
from api.holdings_lines import MOST_LINE_BYTES
from api.holdings_lines import parse as parse_holdings
from api.input_lines import csv_lines, of_each_asset, parse_actions, parse_flows, parse_valuations
from api.settings import Settings
from ledger.errors import InvalidLines
from ledger.service.ledger import Ledger
from ledger.service.monitoring.bulk_holdings import ValuationLine
from ledger.store.envelope import Actor
from ledger.store.events import Receipt

T = TypeVar("T")

# The most lines of one append, because other callers wait for it.
AT_ONCE = 1000
MOST_CSV_BYTES = 64 * 1024 * 1024
File = Annotated[Path, typer.Argument(metavar="FILE", help="NDJSON, or CSV with a header if its name ends in .csv.")]
Lines = Annotated[Path, typer.Argument(metavar="FILE", help="NDJSON: one portfolio on each line.")]


def actions(
    file: File,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record corporate actions from a file: splits, new identifiers, delistings.

    Nothing is recorded if a line is not valid. What is on record is not recorded again.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _record(settings, file, parse_actions, lambda ledger: ledger.corporate_actions.record, as_json=as_json)


def holdings(
    file: Lines,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record the holdings of many portfolios from a file, in batches of 1000, each of them whole or not at all.

    Nothing is recorded if a line is not valid. What is on record is not recorded again.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _record(settings, file, parse_holdings, lambda ledger: ledger.holdings.record, as_json=as_json)


def flows(
    file: File,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record what came into portfolios and went out, from a file, in batches of 1000, each whole or not at all.

    Nothing is recorded if a line is not valid. What is on record is not recorded again.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _record(settings, file, parse_flows, lambda ledger: ledger.flows.record, as_json=as_json)


def valuations(
    file: File,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record portfolios as a custodian has valued them, from a file, in batches of 1000, each whole or not at all.

    Nothing is recorded if a line is not valid. What is on record is not recorded again.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    parse = parse_valuations
    if file.suffix.lower() == ".csv":
        _record(settings, file, lambda lines: parse(of_each_asset(list(lines))), _valuations, as_json=as_json)
    else:
        _record(settings, file, parse, _valuations, as_json=as_json)


def _valuations(ledger: Ledger) -> Callable[[Actor, Sequence[ValuationLine]], Awaitable[list[Receipt]]]:
    return ledger.valuations.record


def _record(
    settings: Settings,
    file: Path,
    parse: Callable[[Iterable[bytes]], list[T]],
    command: Callable[[Ledger], Callable[[Actor, Sequence[T]], Awaitable[list[Receipt]]]],
    *,
    as_json: bool,
) -> None:
    """Record the lines of a file in batches, and print how many there are. Raises CannotRun."""
    with _bad_lines_told("nothing is recorded"):
        found = parse(_lines(file))
    if not found:
        raise CannotRun(f"{file} is empty")
    with opened(settings) as url, progress() as on_progress:

        async def run(ledger: Ledger, actor: Actor) -> int:
            recorded = 0
            for first in range(0, len(found), AT_ONCE):
                chunk = found[first : first + AT_ONCE]
                outcome = f"{recorded} lines before them are recorded" if recorded else "nothing is recorded"
                with _bad_lines_told(outcome):
                    recorded += len(await command(ledger)(actor, chunk))
                on_progress("lines", first + len(chunk), len(found))
            return recorded

        recorded = on_ledger(settings, url, run)
    if as_json:
        say_json({"lines": len(found), "recorded": recorded})
    else:
        say(f"{len(found)} lines, {recorded} of them recorded")


def _lines(file: Path) -> Iterator[bytes]:
    """Yield the lines of a file.

    A line longer than any input is cut, and so refused. Raises CannotRun or InvalidLines.
    """
    with file.open("rb") as opened_file:
        if file.suffix.lower() == ".csv":
            body = opened_file.read(MOST_CSV_BYTES + 1)
            if len(body) > MOST_CSV_BYTES:
                raise CannotRun(f"{file} is over {MOST_CSV_BYTES} bytes: split it")
            yield from csv_lines(body)
        else:
            yield from iter(lambda: opened_file.readline(MOST_LINE_BYTES + 2), b"")


@contextmanager
def _bad_lines_told(outcome: str) -> Iterator[None]:
    """Print each wrong line. Raises CannotRun if lines are wrong."""
    try:
        yield
    except InvalidLines as error:
        for field, reason in error.errors:
            note(f"{field}: {reason}")
        raise CannotRun(f"lines are not valid: {outcome}") from error
