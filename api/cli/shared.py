"""What the commands share: the options that say which database, what is printed where, and the end on an error.

Results go to stdout, everything else to stderr. Exit codes: 0 good, 1 found something wrong, 2 could not run.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import psycopg
import typer
import typer.core

from api.http.auth.tokens import TokenError
from api.postgres.connect import DatabaseError, open_database
from api.postgres.embedded import EmbeddedError
from ledger.database import one_line
from ledger.errors import LedgerError
from ledger.tlog.sign.errors import KeyUnusable, SigningRefused
from projections.rebuild import RebuildFailed
from projections.registry import UnknownReadModel
from schema.migrate import MigrationError

FOUND_WRONG = 1
COULD_NOT_RUN = 2

# Every command takes these, and reads the same environment variables.
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="ADVICE_LEDGER_DATABASE_URL",
        metavar="URL",
        show_default=False,
        help="Use this PostgreSQL (14 or newer). A URL on the command line shows in process lists: prefer the "
        "variable where it holds a password.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="ADVICE_LEDGER_DATA_DIR",
        metavar="FOLDER",
        show_default=False,
        help="Use the embedded PostgreSQL on this folder. Default: a folder of the user's own.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

OnProgress = Callable[[str, int, int], None]


class CannotRun(Exception):
    """A command cannot do its work; the message is one line that says why and what to do."""


# Their messages are for whoever runs the command.
EXPECTED = (
    CannotRun,
    DatabaseError,
    EmbeddedError,
    KeyUnusable,
    LedgerError,
    MigrationError,
    RebuildFailed,
    SigningRefused,
    TokenError,
)


class Commands(typer.core.TyperGroup):
    """Ends a command on an expected failure: one line on stderr, exit code 2, no traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except EXPECTED as error:
            reason = str(error)
        except UnknownReadModel as error:
            reason = str(error.args[0])
        except psycopg.Error as error:
            reason = f"the database failed: {one_line(error)}"
        except UnicodeEncodeError:
            reason = "an argument is not valid text in UTF-8"
        except KeyboardInterrupt:
            reason = "interrupted"
        except BrokenPipeError:
            # The reader of our output has left. What is still buffered must not raise again on the way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            reason = "nobody reads the output"
        note(f"error: {reason}")
        raise typer.Exit(COULD_NOT_RUN)


@contextlib.contextmanager
def opened(
    ctx: typer.Context,
    database_url: str | None,
    data_dir: Path | None,
    *,
    make: bool = False,
    supervise: bool = False,
) -> Iterator[str]:
    """The URL of the chosen database while the block runs; see open_database. An option beats a variable."""
    database_url, data_dir = chosen(ctx, database_url, data_dir)
    with open_database(database_url, data_dir, make=make, supervise=supervise) as url:
        yield url


def chosen(ctx: typer.Context, database_url: str | None, data_dir: Path | None) -> tuple[str | None, Path | None]:
    """The URL or the folder that options and environment mean; neither for the user's own folder. Raises CannotRun."""
    on_line = [name for name in ("database_url", "data_dir") if given(ctx, name)]
    if len(on_line) == 2:
        raise CannotRun("--database-url and --data-dir exclude each other: give one of them")
    if on_line == ["data_dir"] or database_url is None:
        return None, data_dir
    return database_url, None


def say(text: str) -> None:
    """Prints a result."""
    typer.echo(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """Prints what is not a result, on stderr."""
    typer.echo(text, err=True)


def printable(text: str) -> str:
    """A line without what a terminal would obey, such as escape sequences or a change of direction; escaped instead."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def say_json(value: object) -> None:
    """Prints a result as JSON; dataclasses are objects, times RFC 3339 UTC."""
    say(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def say_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints rows in aligned columns, whole, however narrow the terminal is."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Something to report progress to, (name, done, in all): a bar for each name on a terminal, silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _name, _done, _all: None
        return
    from rich.console import Console  # noqa: PLC0415 - takes longer to import than most commands take to run
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, in_all: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=in_all)
            bars.update(tasks[name], completed=done, total=in_all)

        yield show


def given(ctx: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line, and not only in the environment."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
