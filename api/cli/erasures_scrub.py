"""advice-ledger erasures scrub: write files anew that held erased values."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.administration import on_ledger
from api.cli.bars import progress
from api.cli.configure import configured, opened
from api.cli.shared import FOUND_WRONG, AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.postgres.connect import connect
from api.settings import Settings
from ledger.database import Url
from ledger.wording import counted
from projections.scrub import Plan, Scrubbed, make_plan
from projections.scrub import scrub as run_scrub
from schema.events import ErasuresScrubbed


def scrub(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what it would write anew, and how much.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write all files of the database anew that held values of erased clients, and record it.

    Readers and writers go on meanwhile. It needs the owner's login, as migrate does, and room for the largest table.
    The write-ahead log, standbys and backups are not written anew: docs/operate/scrub.md says what to do about them.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        connect(url, "owner").close()  # it refuses with a clear message
        plan = make_plan(url)
        if dry_run or plan.upto is None:
            _say_plan(plan, as_json)
            return
        with progress() as on_progress:
            done = run_scrub(url, plan, on_progress)
        event = _record(settings, url, plan, done)
    if as_json:
        say_json(
            {"upto": plan.upto, "erasures": plan.erasures, "bytes": plan.size, "tables": done.tables, "event": event}
        )
    else:
        say(f"{counted(plan.erasures, 'erasure')} up to event {plan.upto}: out of the files, event {event}")
        say(f"{counted(len(done.tables), 'table')} written anew, {_megabytes(plan.size)} MB before")
    if any(report.differing for report in done.rebuilt):
        say("read models had rows that the chain does not say: run advice-ledger verify")
        raise typer.Exit(FOUND_WRONG)


def _record(settings: Settings, url: Url, plan: Plan, done: Scrubbed) -> int:
    assert plan.upto is not None, "there was something to do"
    event = ErasuresScrubbed(
        after=plan.after, upto=plan.upto, erasures=plan.erasures, tables=list(done.tables), bytes=plan.size
    )
    return on_ledger(settings, url, lambda ledger, actor: ledger.erasures.record_scrub(actor, event)).position


def _say_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        say_json(
            {"upto": plan.upto, "erasures": plan.erasures, "bytes": plan.size, "tables": plan.tables, "event": None}
        )
    elif plan.upto is None:
        say("nothing to do: no values were erased since the last scrub")
    else:
        say(f"{counted(plan.erasures, 'erasure')} up to event {plan.upto}: to write anew, {_megabytes(plan.size)} MB")
        say_table(("table", "MB"), [(name, _megabytes(size)) for name, size in plan.tables.items()])


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:,.1f}"
