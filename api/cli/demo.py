"""advice-ledger demo: years of reviews on real prices, through the real API, then questions to the ledger."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, OnProgress, note, progress, say, say_json

if TYPE_CHECKING:
    from api.demo.run import Result
    from api.demo.server import Site

QUARTERS_A_YEAR = 4
# Without a terminal there are so many lines of progress.
LINES = 10

Clients = Annotated[int, typer.Option(min=1, max=500, metavar="NUMBER", help="How many clients there are.")]
Years = Annotated[
    int, typer.Option(min=1, max=30, metavar="NUMBER", help="The last so many years of the prices, 1993 to 2022.")
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Leave the server running afterwards, and show its address and the tokens.")
]
# Without the variable of the other commands, so that no ledger of the user's is ever taken for this.
OwnFolder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        show_default=False,
        help="Keep the demo's ledger in this folder, where there is none yet. Default: a temporary folder.",
    ),
]


def demo(
    clients: Clients = 36, years: Years = 9, keep: Keep = False, as_json: AsJson = False, data_dir: OwnFolder = None
) -> None:
    """Fill a ledger of its own with years of reviews on real prices, and show what can be asked of it.

    Clients and decisions are invented, prices and models are real, and everything goes through the HTTP API of a real
    server. Takes a minute or two. Exit code 1 when the ledger or the client's case does not verify.
    """
    if keep and as_json:
        raise CannotRun("--keep and --json exclude each other: give one of them")
    with _run(clients, years, data_dir) as result:
        answers = result.answers
        good = answers.verification["ok"] and answers.evidence.audit["ok"]
        good = good and answers.replay.get("outcome", "identical") == "identical"
        if as_json:
            say_json({"done": result.done, "answers": answers})
        else:
            from api.demo.report import print_report  # noqa: PLC0415 - with the rest of the demo

            print_report(result, say)
        if keep:
            _wait(result.site)
    if not good:
        raise typer.Exit(FOUND_WRONG)


@contextlib.contextmanager
def _run(clients: int, years: int, data_dir: Path | None) -> Iterator[Result]:
    """The demo's result, while its server runs; what can go wrong with it becomes CannotRun."""
    from api.extras import MissingExtra, needs_extra  # noqa: PLC0415 - other commands need none of this

    try:
        with needs_extra("advice-ledger-client"):
            from advice_ledger_client import ClientError  # noqa: PLC0415

        from api.demo.run import Plan, demo  # noqa: PLC0415
        from api.demo.server import DemoFailed  # noqa: PLC0415

        try:
            plan = Plan(clients, years * QUARTERS_A_YEAR, data_dir, _environment())
            with _progress() as on_progress, contextlib.ExitStack() as stack:
                result = stack.enter_context(demo(plan, on_progress))
                still = stack.pop_all()
            with still:
                yield result
        except (ClientError, DemoFailed) as error:
            raise CannotRun(f"the demo ended: {error}") from error
    except MissingExtra as error:
        raise CannotRun(str(error)) from error


def _environment() -> dict[str, str]:
    """Ours, without what would make the demo's server another one than it is to be."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ADVICE_LEDGER_")}


@contextlib.contextmanager
def _progress() -> Iterator[OnProgress]:
    """Bars on a terminal, a line now and then elsewhere: this takes longer than the other commands."""
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
    """Until Ctrl-C, or until the server is gone."""
    width = max(map(len, site.tokens))
    say("\nThe server goes on until Ctrl-C. Its address, and everybody's token:\n")
    say(f"  {site.url}/docs")
    say(f"  --data-dir {site.folder} for the commands above\n")
    for name, token in site.tokens.items():
        say(f"  {name:<{width}}  {token}")
    token = next(iter(site.tokens.values()))
    say(f"\ncurl '{site.url}/recommendations?state=waiting' -H 'Authorization: Bearer {token}'")
    with contextlib.suppress(KeyboardInterrupt):
        site.process.wait()
        raise CannotRun("the server has ended")
