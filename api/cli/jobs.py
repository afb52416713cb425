"""advice-ledger jobs: list, show and cancel work in the background."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import psycopg
import typer

from api.cli.administration import minute
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.jobs.queue import CANCEL, KEEP_CANCELLED_S, Job, job_unknown, list_jobs
from api.postgres.connect import connect
from ledger.database import Connection, Url
from schema.states import JobState

app = typer.Typer(
    help="Jobs in the background: waiting, running and ended ones. GET /jobs lists the same.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Number = Annotated[int, typer.Argument(min=1, metavar="NUMBER", help="The number of the job.")]
Kind = Annotated[str | None, typer.Option(metavar="NAME", show_default=False, help="Only jobs of this kind.")]
State = Annotated[JobState | None, typer.Option(show_default=False, help="Only jobs in this state.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="The most lines; the newest come first.")]


@app.command(name="list")
def list_all(
    kind: Kind = None,
    state: State = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List jobs, the newest first. Reads as the role reader."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        jobs = _read(url, limit, kind=kind, state=None if state is None else state.value)
    if as_json:
        say_json([asdict(job) for job in jobs])
    elif not jobs:
        say("there are no such jobs")
    else:
        rows = [
            (job.id, job.kind, job.state, _progress(job), job.error or "-", job.asked_by, minute(job.created_at))
            for job in jobs
        ]
        say_table(("job", "kind", "state", "progress", "error", "asked by", "asked (UTC)"), rows)


@app.command()
def show(
    number: Number,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show one job: its progress, its result, or the name of its error."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        _show(_job(url, number), as_json=as_json)


@app.command()
def cancel(
    number: Number,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Cancel a job that has not ended. A server that runs it stops within seconds. Acts as the role writer."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        with connect(url, "writer") as conn:
            state = _cancelled(conn, number)
        if state != JobState.CANCELLED:
            raise CannotRun(f"the job {number} has ended: it is {state}")
        _show(_job(url, number), as_json=as_json)


def _cancelled(conn: Connection, number: int) -> str:
    row = conn.execute(CANCEL, [number, KEEP_CANCELLED_S]).fetchone()
    if row is None or row[0] is None:
        raise job_unknown()
    return str(row[0])


def _read(url: Url, limit: int, **filters: object) -> list[Job]:
    try:
        with connect(url, "reader") as conn:
            return list_jobs(conn, limit, **filters)
    except psycopg.errors.UndefinedTable as error:
        raise CannotRun("this database has no jobs: run advice-ledger migrate") from error


def _job(url: Url, number: int) -> Job:
    found = _read(url, 1, id=number)
    if not found:
        raise job_unknown()
    return found[0]


def _progress(job: Job) -> str:
    return f"{job.done} of {job.total}" if job.total else "-"


def _show(job: Job, *, as_json: bool) -> None:
    if as_json:
        say_json(asdict(job))
        return
    lines = {
        "job": f"{job.id} ({job.kind}), asked for by {job.asked_by}",
        "state": job.state + (f": {job.error}" if job.error else ""),
        "progress": _progress(job),
        "asked": minute(job.created_at),
        "ended": minute(job.ended_at) or "-",
        "expires": minute(job.expires_at) or "-",
        **{f"  {name}": value for name, value in {**job.parameters, **(job.result or {})}.items()},
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        say(f"{name.ljust(width)}  {value}")
