"""advice-ledger monitor: judge all portfolios, compute a run again, and tell endpoints what was decided."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from api.cli import deliveries, endpoints, monitor_inputs, monitor_lists
from api.cli.administration import on_ledger
from api.cli.configure import configured, opened, operator
from api.cli.endpoints import EndpointName, KeyAlgorithm, key_folder, new_key, show_key
from api.cli.recording import record_reader, recorder_of
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.postgres.connect import RoleDenied, connect
from api.settings import Settings
from api.times import BadTime, last, parse, zone_of
from ledger.database import Url
from ledger.errors import LedgerError, Refused
from ledger.service.accesses import Access, ClientNumber
from ledger.service.monitoring.owners import clients_of
from ledger.service.monitoring.reports import Replayed, RunReport, WouldBe
from ledger.service.open_ledger import LedgerParts, open_ledger

app = typer.Typer(
    help="Watch portfolios: judge all of them as of a time, and compute a run again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(monitor_inputs.actions)
app.command()(monitor_inputs.flows)
app.command()(monitor_inputs.holdings)
app.command()(monitor_inputs.valuations)
app.add_typer(endpoints.app, name="endpoints")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(monitor_lists.app, name="recorded")

AsOf = Annotated[
    str,
    typer.Option(metavar="TIME", help="The time to judge, such as 2026-03-02T22:00:00Z, or a day: its end in UTC."),
]
RunNumber = Annotated[int, typer.Option("--run", min=1, metavar="NUMBER", help="The run to compute again.")]


@app.command()
def run(
    as_of: AsOf,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Judge all portfolios as of a time. Finishes a run that was killed first."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        at = _time(as_of)
        with refusals_told():
            _, report = on_ledger(settings, url, lambda ledger, actor: ledger.monitoring.run(actor, at))
    if as_json:
        say_json(asdict(report))
    else:
        _show(report)


@app.command()
def replay(
    run: RunNumber,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Compute a run again, bit for bit, and compare it with what was recorded.

    If portfolios are named, the ledger first records who looks. Exit code 0 if it agrees, 1 if it differs.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, refusals_told():
        replayed = asyncio.run(_replayed(settings, url, run))
    if as_json:
        say_json({**asdict(replayed), "agrees": replayed.agrees})
    else:
        _compare(replayed)
    raise typer.Exit(0 if replayed.agrees else FOUND_WRONG)


@app.command(name="would-be")
def would_be(
    run: RunNumber,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Judge a run by what is on record now, so that later corrections count. Nothing that is recorded changes by it.

    If portfolios are named, the ledger first records who looks.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, refusals_told():
        found = asyncio.run(_would_be(settings, url, run))
    if as_json:
        say_json(asdict(found))
    else:
        _show_would_be(found)


@app.command()
def escalate(
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record which alerts nobody acknowledged within the hours of their policy. `serve` does this each minute, too."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, refusals_told():
        recorded = on_ledger(settings, url, lambda ledger, actor: ledger.escalations.escalate(actor))
    if as_json:
        say_json({"escalated": recorded})
    else:
        say(f"escalated   {recorded}")


@app.command()
def keygen(
    endpoint: EndpointName,
    algorithm: KeyAlgorithm = "v1",
    rotate: Annotated[
        int | None,
        typer.Option(min=0, max=720, metavar="HOURS", help="Replace its key. The former one signs for so long too."),
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make the key that signs messages to an endpoint, and print what its receiver verifies them with."""
    folder = key_folder(configured(config, database_url=database_url, data_dir=data_dir), endpoint)
    show_key(folder, endpoint, new_key(folder, endpoint, algorithm, rotate), as_json=as_json)


async def _replayed(settings: Settings, url: Url, run: int) -> Replayed:
    async with open_ledger(LedgerParts(url, readers=2, read_only=True)) as ledger:
        found = await ledger.monitoring.replay(run)
    await _record(settings, url, "replay", [*found.given, *found.different])
    return found


async def _would_be(settings: Settings, url: Url, run: int) -> WouldBe:
    async with open_ledger(LedgerParts(url, readers=2, read_only=True)) as ledger:
        found = await ledger.monitoring.would_be(run)
    await _record(settings, url, "would-be", found.different)
    return found


async def _record(settings: Settings, url: Url, command: str, names: Sequence[str]) -> None:
    """Record that the operator is about to be shown these portfolios, if there are any. Raises CannotRun."""
    if not names:
        return
    access = Access(operator(), "operator", "read", f"advice-ledger monitor {command}", ("run",))
    try:
        connect(url, "writer").close()
        async with open_ledger(LedgerParts(url, readers=2, recorder=recorder_of(settings, url))) as ledger:
            clients = await clients_of(ledger.readers, sorted(names))
            await record_reader(ledger, access, [ClientNumber(number) for number in clients])
    except (RoleDenied, LedgerError) as error:
        raise CannotRun(f"who looks is recorded, and {error}") from error


@contextmanager
def refusals_told() -> Iterator[None]:
    """Raise CannotRun for a refusal."""
    try:
        yield
    except Refused as error:
        raise CannotRun(str(error)) from error


def _time(text: str) -> datetime:
    """Return the time that was typed. Raises CannotRun."""
    try:
        found = parse(text)
        return found if isinstance(found, datetime) else last(found, zone_of("UTC"))
    except BadTime as error:
        raise CannotRun(f"--as-of: {error}") from error


def _show(report: RunReport) -> None:
    counts = ", ".join(f"{count} {name}" for name, count in report.conditions.items())
    say(f"run         {report.run}, up to position {report.position}")
    say(f"portfolios  {report.portfolios}: {counts}")
    say(f"alerts      {report.raised} raised, {report.closed} closed; {report.decisions} decisions whom to tell")
    say(f"root        {report.root}")
    if report.historical:
        say("historical: the time is more than a day ago, so nothing is delivered")


def _compare(replayed: Replayed) -> None:
    say(f"run         {replayed.run}, as of {replayed.as_of}, up to position {replayed.position}")
    say(f"portfolios  {replayed.portfolios}, {len(replayed.given)} of clients who were erased, taken as recorded")
    say(f"recorded    {replayed.recorded_root}")
    say(f"computed    {replayed.computed_root or 'by other portfolios or policies'}")
    for name in replayed.different[:20]:
        say(f"  {name} is judged differently")
    say("agrees: the same judgements, bit for bit" if replayed.agrees else "differs from what was recorded")


def _show_would_be(found: WouldBe) -> None:
    say(f"run         {found.run}, as of {found.as_of}, up to position {found.position}; now up to {found.upto}")
    for name, count in found.conditions.items():
        say(f"{name:11} {count} then, {found.would_be[name]} now")
    for one in found.changes[:20]:
        say(f"  {one.portfolio} was {one.condition} and would be {one.would_be}")
    say(f"{len(found.different)} of {found.portfolios} portfolios would be judged otherwise")
