"""advice-ledger demo: years of reviews on real prices, through the real API, then questions to the ledger."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from advice_ledger_client import ClientError

from api.cli.bars import OnProgress, progress
from api.cli.demo_report import print_report
from api.cli.first_tokens import introduced, variable
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, note, say, say_json
from api.demo.run import Plan, Result
from api.demo.run import demo as run_demo
from api.demo.server import DemoFailed, Site

QUARTERS_A_YEAR = 4
# The number of progress lines for each step without a terminal.
LINES = 10

Clients = Annotated[int, typer.Option(min=1, max=500, metavar="NUMBER", help="The number of clients.")]
Years = Annotated[
    int, typer.Option(min=1, max=30, metavar="NUMBER", help="The number of years, up to the end of the prices in 2022.")
]
Keep = Annotated[
    bool,
    typer.Option(
        "--keep",
        help="Leave the server running afterwards, and show its address. Tokens are shown on a terminal, or kept in a "
        "file that only you can read.",
    ),
]
# No setting chooses this folder, so that the demo never uses a ledger of the user.
OwnFolder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        show_default=False,
        help="Keep the demo's ledger in this folder, which must have none yet. Default: a temporary folder.",
    ),
]


def demo(
    clients: Clients = 36, years: Years = 9, keep: Keep = False, as_json: AsJson = False, data_dir: OwnFolder = None
) -> None:
    """Fill a ledger of its own with years of reviews on real prices, and ask it the questions of its users.

    Clients and decisions are invented, prices and models are real, and everything goes through the HTTP API of a real
    server. It takes two minutes or three. Exit code 1 if the ledger or the client's case does not verify, or if an
    answer or a run of monitoring does not come out the same again.
    """
    if keep and as_json:
        raise CannotRun("--keep and --json exclude each other: give one of them")
    with _run(clients, years, data_dir) as result:
        answers = result.answers
        good = answers.verification["ok"] and answers.evidence.audit["ok"]
        good = good and answers.replay.get("outcome", "identical") == "identical" and answers.run_replay["agrees"]
        if as_json:
            say_json({"done": result.done, "watched": result.watched, "answers": answers})
        else:
            print_report(result, say)
        if keep:
            _wait(result.site)
    if not good:
        raise typer.Exit(FOUND_WRONG)


@contextlib.contextmanager
def _run(clients: int, years: int, data_dir: Path | None) -> Iterator[Result]:
    """Yield the demo's result while its server runs. Raises CannotRun if the demo fails."""
    try:
        plan = Plan(clients, years * QUARTERS_A_YEAR, data_dir, _environment())
        with _progress() as on_progress, contextlib.ExitStack() as stack:
            result = stack.enter_context(run_demo(plan, on_progress))
            server = stack.pop_all()
        with server:
            yield result
    except (ClientError, DemoFailed) as error:
        raise CannotRun(f"the demo ended: {error}") from error


def _environment() -> dict[str, str]:
    """Return the environment without the settings, which would change the demo's server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ADVICE_LEDGER_")}


@contextlib.contextmanager
def _progress() -> Iterator[OnProgress]:
    """Yield a function that shows bars on a terminal, and occasional lines elsewhere, because the demo takes long."""
    if sys.stderr.isatty():
        with progress() as on_progress:
            yield on_progress
        return

    def line(name: str, done: int, in_all: int) -> None:
        if not done:
            note(name)
        elif done * LINES // in_all > (done - 1) * LINES // in_all:
            note(f"{name} {done} of {in_all}")

    yield line


def _wait(site: Site) -> None:
    """Wait for Ctrl-C. Raises CannotRun if the server ends."""
    name = next(iter(site.tokens))
    with introduced(site.tokens, site.folder) as text:
        say("\nThe server goes on until Ctrl-C. Its address, and its folder for the commands above:\n")
        say(f"  {site.url}/docs")
        say(f"  --data-dir {site.folder}\n")
        say(text)
        say(f"curl '{site.url}/recommendations?state=waiting' -H \"Authorization: Bearer ${variable(name)}\"")
    with contextlib.suppress(KeyboardInterrupt):
        site.process.wait()
        raise CannotRun("the server has ended")
