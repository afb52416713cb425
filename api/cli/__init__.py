"""The program `advice-ledger`. With api/app.py, the only code that reads the environment.

Each command is a function whose signature and docstring are its interface and its help:

    serve      the HTTP API and the worker          cli/serve.py
    migrate    create or upgrade the ledger         cli/schema.py
    rebuild    build read models anew               cli/schema.py
    status     where everything stands              cli/status.py
    orphans    model calls without an end           cli/orphans.py
    replay     ask the recorded agent again         cli/replay.py
    verify     recompute the chain                  cli/verify.py
    tokens     who may call                         cli/tokens.py
    sign       sign what is recorded                cli/sign.py
    keys       what the log is signed with          cli/keys.py
    export     evidence for others                  cli/export.py
    witness    cosign the logs of others            cli/witness.py
    demo       years of reviews on real prices      cli/demo.py
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Annotated

import typer
import typer.main

from api.cli import demo, export, keys, orphans, replay, schema, serve, sign, status, tokens, verify, witness
from api.cli.shared import COULD_NOT_RUN, Commands, say

NAME = "advice-ledger"
EPILOG = "Exit codes: 0 good, 1 found something wrong, 2 could not run. Messages go to stderr, results to stdout."

app = typer.Typer(cls=Commands, epilog=EPILOG, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
for _command in (
    serve.serve,
    schema.migrate,
    schema.rebuild,
    status.status,
    orphans.orphans,
    replay.replay,
    verify.verify,
    sign.sign,
    export.export,
    demo.demo,
):
    app.command()(_command)
app.add_typer(tokens.app, name="tokens")
app.add_typer(keys.app, name="keys")
app.add_typer(witness.app, name="witness")


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
    """The entry point."""
    sys.excepthook = _unexpected
    # As Ctrl-C: what is open is closed, and an embedded PostgreSQL without another user is stopped.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup sets
        signal.signal(signal.SIGHUP, _hang_up)
    typer.main.get_command(app)(prog_name=NAME)


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415 - slow to import, and seldom asked for

    try:
        return metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "(not installed)"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)


def _unexpected(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    """A fault of ours must not pass for exit code 1, which says that the ledger has one."""
    sys.__excepthook__(kind, error, at)
    sys.stdout.flush()
    os._exit(COULD_NOT_RUN)
