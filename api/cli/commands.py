"""Define the table of commands. A command's module is imported when the command is used, so `--help` stays fast."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main

from api.cli.shared import COULD_NOT_RUN, CannotRun, note
from api.extras import needs_extra


class Entry(NamedTuple):
    """One command: its module, the line about it in `advice-ledger --help`, and the distribution that it needs."""

    module: str
    help: str
    needs: str | None = None


COMMANDS: dict[str, Entry] = {
    "serve": Entry("api.cli.serve", "Run the HTTP API and the worker."),
    "migrate": Entry("api.cli.schema", "Create or upgrade the ledger, its read models and its logins."),
    "rebuild": Entry("api.cli.schema", "Build read models anew from the chain."),
    "status": Entry("api.cli.status", "Show the state of the chain, its read models and its transparency log."),
    "orphans": Entry("api.cli.orphans", "List model calls that were started and never ended, the oldest first."),
    "expire": Entry("api.cli.expire", "Record that decisions have expired that nobody confirmed in time."),
    "replay": Entry("api.cli.replay", "Ask the recorded agent again, with exactly the same input, and compare."),
    "verify": Entry("api.cli.verify", "Recompute the whole chain and report what is wrong."),
    "sign": Entry("api.cli.sign", "Sign checkpoints over new events, until Ctrl-C or SIGTERM, or once."),
    "export": Entry(
        "api.cli.export",
        "Write an evidence bundle: events, sealed values, and the proof that they are in the signed log.",
    ),
    "case-file": Entry(
        "api.cli.case_file",
        "Make the PDF of a bundle: the case file for a person, with the bundle attached.",
        needs="advice-ledger[pdf]",
    ),
    "case": Entry("api.cli.story", "Show one case: what was asked, recommended beside decided, and all steps."),
    "client": Entry("api.cli.story", "Show everything that took place with a client between two days, and who looked."),
    "access": Entry("api.cli.access", "List who read data of clients, exported it, or was refused."),
    "monitor": Entry("api.cli.monitor", "Watch portfolios: judge all of them as of a time, and compute a run again."),
    "jobs": Entry("api.cli.jobs", "Jobs in the background: waiting, running and ended ones."),
    "import": Entry(
        "api.cli.import_history", "Record what took place before this ledger had it, with its own times and actors."
    ),
    "backup": Entry(
        "api.cli.backup",
        "Write the whole ledger to one file, from which restore makes it again, also on another version of PostgreSQL.",
    ),
    "restore": Entry("api.cli.restore", "Make a ledger from a backup, build its read models, and verify its chain."),
    "demo": Entry(
        "api.cli.demo",
        "Fill a ledger of its own with years of reviews on real prices, and ask it the questions of its users.",
        needs="advice-ledger-client",
    ),
    "clients": Entry("api.cli.clients", "Clients, their identifiers, and to whom they are assigned."),
    "samples": Entry(
        "api.cli.samples", "Samples of decisions to review: drawn by a seed, so that anybody can draw them again."
    ),
    "reviews": Entry("api.cli.reviews", "The queue of reviews: decisions that samples chose."),
    "holds": Entry("api.cli.holds", "Legal holds, which keep the records of a client from being erased."),
    "erase": Entry("api.cli.erase", "Request the erasure of a client: all its sealed values."),
    "erasures": Entry("api.cli.erasures", "Erasures of clients."),
    "subjects": Entry("api.cli.subjects", "People, agents and services that may act."),
    "credentials": Entry("api.cli.credentials", "Bearer tokens for the HTTP API, and other credentials of subjects."),
    "keys": Entry("api.cli.keys", "The key that signs the checkpoints."),
    "witness": Entry("api.cli.witness", "Cosign the checkpoints of the logs of others (docs/operate/witnesses.md)."),
}


class Commands(typer.core.TyperGroup):
    """The commands of the table. An expected failure ends a command with one line on stderr and exit code 2."""

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """Import a command; None if no command has this name."""
        return load(cmd_name) if cmd_name in COMMANDS else None

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write the table, without importing the commands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program. Its own help may also fail to be written."""
        try:
            return super().main(*args, **kwargs)
        except CannotRun as error:
            note(f"error: {error}")
            sys.exit(COULD_NOT_RUN)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except _failures().EXPECTED as error:
            note(f"error: {_failures().reason(error)}")
            raise typer.Exit(COULD_NOT_RUN) from error


def load(name: str) -> Any:
    """Import a command's module and return the command: its `app` if it is a group, or else the function of its name.

    Raises MissingExtra if the distribution that it needs is not installed.
    """
    entry = COMMANDS[name]
    with needs_extra(entry.needs) if entry.needs else contextlib.nullcontext(), _no_collection():
        module = importlib.import_module(entry.module)
    group: typer.Typer | None = getattr(module, "app", None)
    if group is None:
        group = typer.Typer(add_completion=False, rich_markup_mode=None)
        group.command()(getattr(module, name.replace("-", "_")))
    command = typer.main.get_command(group)
    command.name = name
    return command


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Turn off garbage collection during the block: imports make no garbage, and collecting takes a fifth of their
    time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _failures() -> Any:
    """Import what only a failure needs. Python evaluates an `except` clause only after something was raised."""
    return importlib.import_module("api.cli.failures")
