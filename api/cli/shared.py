"""Share parts of all commands: exit codes, common options and output. It imports no slow module.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

# Exit codes; 0 is success.
FOUND_WRONG = 1
COULD_NOT_RUN = 2

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        show_default=False,
        help="Use this PostgreSQL (14 or newer). A URL on the command line shows in process lists: if it holds a "
        "password, use ADVICE_LEDGER_DATABASE_URL or the settings file.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        show_default=False,
        help="Use the embedded PostgreSQL in this folder. Default: a folder of the user's own.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        show_default=False,
        help="Read settings from this TOML file. Default: advice-ledger.toml in the data folder, if it is there.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class CannotRun(Exception):
    """A command cannot do its work. The message is one line that says why and what to do."""


def say(text: str) -> None:
    """Print a result."""
    typer.echo(text)  # flushes


# Messages that wait for the end of a command, or None: see `streams.notes_after`.
_waiting: list[str] | None = None


def note(text: str) -> None:
    """Print a message to stderr, at once or after the result."""
    if _waiting is None:
        typer.echo(text, err=True)
    else:
        _waiting.append(text)


def hold_notes(waiting: list[str] | None) -> None:
    """Add messages to this list from now on; with None, print them at once."""
    global _waiting  # noqa: PLW0603 - of the process, as stderr is
    _waiting = waiting


def say_json(value: object) -> None:
    """Print a result as JSON; dataclasses become objects, times RFC 3339 UTC."""
    say(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def say_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in aligned columns. Lines are not cut to the width of the terminal."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
