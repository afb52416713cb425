"""The documents keep up with the code: every command, option, variable and route is described where a reader looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from api.cli import app
from api.cli.keys import SIGNING_KEY
from api.cli.options_agents import API_KEY
from api.http.problems import PROBLEMS
from ledger.domain.four_eyes import FourEyes
from ledger.domain.reasons import ReasonCodes
from ledger.domain.recommendation import MEMBERS
from schema.events import CATALOGUE
from tests.ledger.domain.test_case import HEADER, REFUSALS, TABLE
from tests.paths import DOCS

EVENTS = (DOCS / "formats/events.md").read_text("utf-8")
NAME = "advice-ledger"


def sections() -> dict[str, str]:
    """The sections of docs/use/cli.md that are about a command, by its name."""
    parts = re.split(rf"^##+ ({NAME} .+)$", (DOCS / "use/cli.md").read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(group: TyperGroup, name: str = NAME) -> Iterator[tuple[str, TyperGroup | None, list[str], list[str]]]:
    """Each command below a group: its full name, itself if it is a group, its options, its environment variables."""
    for found in group.commands.values():
        full = f"{name} {found.name}"
        options = [option for one in found.params for option in (*one.opts, *one.secondary_opts) if option[0] == "-"]
        variables = [str(one.envvar) for one in found.params if one.envvar]
        yield full, found if isinstance(found, TyperGroup) else None, options, variables
        if isinstance(found, TyperGroup):
            yield from commands(found, full)


ROOT = get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = list(commands(ROOT))


def test_every_command_has_a_section() -> None:
    """One section for each command, and none for a command that does not exist."""
    assert sections().keys() == {full for full, *_ in COMMANDS}


@pytest.mark.parametrize(("full", "group", "options", "variables"), COMMANDS, ids=[full for full, *_ in COMMANDS])
def test_every_option_is_described(
    full: str, group: TyperGroup | None, options: list[str], variables: list[str]
) -> None:
    """Each option of a command stands in its section, in code, and no option stands there that it does not take."""
    described = set(re.findall(r"`(--?[a-z][a-z-]*)", sections()[full]))
    assert described == set(options) - {"--help"}
    page = (DOCS / "use/cli.md").read_text("utf-8")
    assert [name for name in variables if f"`{name}`" not in page] == []


def test_every_command_and_option_has_help() -> None:
    """--help leaves nothing unexplained."""
    assert [found.name for found in walk(ROOT) if not found.help] == []
    unexplained = [f"{found.name} {one.name}" for found in walk(ROOT) for one in found.params if not helped(one)]
    assert unexplained == []


def walk(command: Any) -> Iterator[Any]:
    """A command and all below it."""
    yield command
    if isinstance(command, TyperGroup):
        for found in command.commands.values():
            yield from walk(found)


def helped(parameter: Any) -> bool:
    """Whether --help says something about it."""
    return bool(getattr(parameter, "help", None))


def test_every_variable_of_the_readme_exists() -> None:
    """The environment variables that the documents name are those that the program reads: one has no option."""
    read = {API_KEY, SIGNING_KEY, *(name for *_, variables in COMMANDS for name in variables)}
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    named = {name for page in pages for name in re.findall(r"ADVICE_LEDGER_\w+", page.read_text("utf-8"))}
    assert named == read


def rows(after: str) -> list[list[str]]:
    """The cells of the first table below a heading of docs/formats/events.md, without its two lines of header."""
    section = re.split(rf"^##+ {after}$", EVENTS, flags=re.MULTILINE)[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def test_every_event_is_in_the_catalogue() -> None:
    """In the order of the code, with the names of its sealed members; all have the version that the text says."""
    found = {cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[3])) for cells in rows("The catalogue")}
    assert list(found) == list(CATALOGUE)
    assert found == {name: kind.sealed for name, kind in CATALOGUE.items()}
    assert {kind.schema_version for kind in CATALOGUE.values()} == {1}


# The columns of both tables of docs/formats/events.md, as the commands of the table that the code is tested by.
DECISIONS = [f"{outcome}{how}" for outcome in MEMBERS for how in ("", ", second")]
AGENTS = [["start a call"], ["answer"], ["answer in its place"], ["fail"]]
PEOPLE = [["open"], DECISIONS, ["approve of it", "decline"], ["communicate"]]


@pytest.mark.parametrize(("heading", "columns"), [("What agents do", AGENTS), ("What people do", PEOPLE)])
def test_the_machine_is_as_documented(heading: str, columns: list[list[str]]) -> None:
    """Each cell names the states or the refusal that the tested table has for these commands in this state."""
    found = {state: cells for state, *cells in rows(heading)}
    assert list(found) == list(HEADER)
    for state, cells in found.items():
        for cell, commands in zip(cells, columns, strict=True):
            assert described(cell, state) == {TABLE[command][state] for command in commands}, (state, commands)


def described(cell: str, state: str) -> set[str]:
    """What a cell says: the refusal in code, or the states; = is the state itself."""
    if cell.startswith("`"):
        assert cell.strip("`") in REFUSALS
        return {cell.strip("`")}
    return {state} if cell == "=" else {cell} if cell in HEADER else set(cell.split(", "))


def test_every_refusal_is_named() -> None:
    """Each conflict of a command, and each problem that one may raise, stands in docs/formats/events.md."""
    general = {"idempotency-key-reused", "client-conflict", "busy"}
    refusals = {slug for slug, (status, _) in PROBLEMS.items() if status == 409} - general
    code = "".join(path.read_text("utf-8") for path in (DOCS.parent / "ledger" / "domain").glob("*.py"))
    raised = set(re.findall(r'(?:Refused|NotFound)\(\s*"([a-z-]+)"', code))
    assert raised >= refusals
    assert [name for name in sorted(raised) if f"`{name}`" not in EVENTS] == []


def test_the_policies_are_described() -> None:
    """Thresholds, codes and groups of the packaged policies are those of the text."""
    policies = EVENTS.partition("## Policies")[2]
    reasons = ReasonCodes.load().reasons.values()
    assert [one.code for one in reasons if f"`{one.code}`" not in policies or f"`{one.group}`" not in policies] == []
    conditions = [
        (f"{one.amount_usd_at_least:,.0f}" if one.amount_usd_at_least else f"{one.change_at_least:.2f}")
        for one in FourEyes.load().rules
        if one.reason_codes is None
    ]
    assert conditions == ["1,000,000", "0.20"]
    assert [text for text in conditions if text not in policies] == []
