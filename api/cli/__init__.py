"""The program `advice-ledger`. Its commands are in `api/cli/commands.py`, a module for each in this folder.

Each command is a function: its signature is its options, its docstring its help.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Annotated

import typer
import typer.main

from api.cli import streams
from api.cli.commands import Commands
from api.cli.shared import COULD_NOT_RUN, CannotRun, say

NAME = "advice-ledger"
EPILOG = "Exit codes: 0 good, 1 found something wrong, 2 could not run. Messages go to stderr, results to stdout."

app = typer.Typer(cls=Commands, epilog=EPILOG, no_args_is_help=True, add_completion=False, rich_markup_mode=None)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"{NAME} {_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Event-sourced, hash-chained audit ledger for AI in wealth management."""


def main() -> None:
    """Run the program."""
    streams.install()
    sys.excepthook = _unexpected
    # SIGTERM works like Ctrl-C: everything is closed, and an embedded PostgreSQL without another user stops.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # SIG_IGN is set by nohup
        signal.signal(signal.SIGHUP, _hang_up)
    typer.main.get_command(app)(prog_name=NAME)


def _version() -> str:
    metadata = importlib.import_module("importlib.metadata")  # slow to import, and seldom needed
    try:
        return str(metadata.version(NAME))
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


def _unexpected(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Exit with 2. An error of the program must not look like exit code 1, which reports a fault of the ledger."""
    sys.__excepthook__(kind, error, where)
    with contextlib.suppress(CannotRun):
        sys.stdout.flush()
    os._exit(COULD_NOT_RUN)
