"""advice-ledger migrate and rebuild: bring the database to the state that this version needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json
from api.postgres.blockers import watched
from api.postgres.connect import DatabaseError, connect
from api.postgres.logins import ensure_passwords, gets_in, make_logins
from ledger.database import Url, one_line
from ledger.errors import is_operational
from ledger.service.former_tokens import FormerToken, record_former_tokens
from ledger.verify.objects import migrated_by_this_version
from ledger.wording import counted
from projections.rebuild import RebuildReport, outdated_read_models, rebuild_outdated, rebuild_read_models
from projections.registry import all_models, get_read_model
from schema.database_roles import ROLES
from schema.errors import NotPermitted
from schema.migrate import MigrationReport, pending
from schema.migrate import migrate as run_migrations

Origin = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="The name of a new ledger, such as example.com/advice: no blanks, no +, at most 200 characters. The "
        "first hash of the chain covers it, so it never changes. Default: a random name.",
    ),
]
Logins = Annotated[
    Path | None,
    typer.Option(
        "--logins",
        metavar="FILE",
        show_default=False,
        help="Make each role of the ledger a login of its own, with its password in this file. The file is made if it "
        "does not exist; docs/operate/logins.md says how serve uses it.",
    ),
]
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Read models. Default: all.")]


@dataclass(frozen=True)
class Prepared:
    """The result of `bring_up()`: applied migrations, and read models that were built because they were missing or
    outdated."""

    schema: str
    origin: str
    applied: tuple[str, ...]
    rebuilt: tuple[RebuildReport, ...]


def migrate(
    origin: Origin = None,
    logins: Logins = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Create or upgrade the ledger, its read models and its logins.

    It needs a login that may create roles and schemas. Missing and outdated read models are built. Running it again
    changes nothing.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir, database_logins=logins)
    with opened(settings, make=True) as url, progress() as on_progress:
        if settings.database_logins is not None:
            ensure_passwords(settings.database_logins)
        done = bring_up(url, origin, on_progress)
    if origin is not None and origin != done.origin:
        raise CannotRun(f"the ledger is up to date, but is named {done.origin} already, and keeps that name")
    if as_json:
        say_json(done)
        return
    say(f"ledger {done.origin} (schema {done.schema})")
    say(f"migrations applied: {', '.join(done.applied) or 'none, it was up to date'}")
    for report in done.rebuilt:
        say(f"built {_line(report)}")


def rebuild(
    names: Names = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Build read models anew from the chain.

    Readers and writers go on meanwhile. Each new table is compared with the old one, which it then replaces. Streams
    that a fold cannot take are listed, and left out. Exit code 1 if there are some, or if rows differed: the old table
    was not what the chain says.
    """
    read_models = [get_read_model(name) for name in dict.fromkeys(names or [])] or list(all_models())
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, progress() as on_progress:
        connect(url, "owner").close()  # it refuses with a clear message
        try:
            reports = rebuild_read_models(url, read_models, on_progress=on_progress)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction) as error:
            # The database may have been restored or copied, or an older version may have migrated it.
            if is_operational(error):
                raise
            raise CannotRun(f"{one_line(error)}: run advice-ledger migrate, which makes what is missing") from error
    if as_json:
        say_json(reports)
    else:
        for report in reports:
            say(f"rebuilt {_line(report)}")
        for report in reports:
            for aside in report.set_aside:
                say(str(aside))
    if any(report.differing or report.set_aside for report in reports):
        raise typer.Exit(FOUND_WRONG)


def bring_up(url: Url, origin: str | None, on_progress: OnProgress) -> Prepared:
    """Migrate, make the logins, then build missing and outdated read models. Nothing else uses the owner's rights.

    Raises NotPermitted, and the errors of `connect()`, `make_logins()` and `rebuild_outdated()`.
    """
    with connect(url, None) as conn:
        with watched(url, conn, note):
            report = _migrate(conn, origin)
        make_logins(conn, url)
    with connect(url, "owner") as conn:
        tell_former(record_former_tokens(conn))
    rebuilt = rebuild_outdated(url, on_progress=on_progress)
    return Prepared(report.schema, report.origin, report.applied, tuple(rebuilt))


def tell_former(tokens: list[FormerToken]) -> None:
    """Print what happened to the tokens of an earlier version."""
    for token in tokens:
        if token.recordable:
            note(f"the token {token.name} of an earlier version is recorded: its holder is the subject {token.name}")
        else:
            note(f"the token {token.name} of an earlier version cannot be carried over: add a subject of another name")


def is_up_to_date(url: Url) -> bool:
    """Check, with only the rights of the roles, that nothing has to be migrated or built, and that each role can log
    in.

    False on a standby, which `bring_up()` refuses. Raises NewerSchema and EditedMigration.
    """
    try:
        with connect(url, "reader") as conn:
            standby = conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
            if standby or pending(conn) or not migrated_by_this_version(conn) or outdated_read_models(conn):
                return False
    except (DatabaseError, psycopg.errors.InsufficientPrivilege):
        return False
    return all(gets_in(url, role) for role in ROLES)


def check_ready(url: Url) -> None:
    """Check that nothing has to be migrated or built, for a login that may not do it. Raises CannotRun otherwise."""
    with connect(url, "reader") as conn:
        try:
            lacking = pending(conn)
        except psycopg.errors.InsufficientPrivilege as error:
            if is_operational(error):
                raise
            raise CannotRun(
                "this login may not see which migrations were applied: run advice-ledger migrate once with a login "
                "that may migrate"
            ) from error
        if lacking:
            raise CannotRun(
                f"the ledger lacks {', '.join(lacking)}, and this login may not migrate: run advice-ledger migrate "
                "with a login that may"
            )
        names = ", ".join(read_model.name for read_model in outdated_read_models(conn))
        if names:
            raise CannotRun(
                f"the read models {names} are missing, outdated or stopped, and this login may not build them: run "
                "advice-ledger rebuild with a login that may"
            )


def _migrate(conn: psycopg.Connection, origin: str | None) -> MigrationReport:
    try:
        return run_migrations(conn, origin=origin)
    except NotPermitted as error:
        if isinstance(error.__cause__, psycopg.Error) and is_operational(error.__cause__):
            raise error.__cause__ from None  # a file of the server cannot be read: no login helps
        raise
    except psycopg.errors.CheckViolation as error:
        raise CannotRun("a ledger's name has 1 to 200 characters, none of them a blank or a +") from error


def _line(report: RebuildReport) -> str:
    compared = {None: "nothing to compare with", 0: "none differed", 1: "1 differed"}
    differing = compared.get(report.differing, f"{report.differing} differed")
    return f"{report.name} up to position {report.position}: {counted(report.rows, 'row')}, {differing}"
