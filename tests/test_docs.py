"""The documents keep up with the code: every command, option, variable and route is described where a reader looks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from api.app import create_app
from api.cli import app
from api.cli.agents import API_KEY
from api.settings import AppSettings

DOCS = Path(__file__).parents[1] / "docs"
NAME = "advice-ledger"


def sections() -> dict[str, str]:
    """The sections of docs/cli.md that are about a command, by its name."""
    parts = re.split(rf"^##+ ({NAME} .+)$", (DOCS / "cli.md").read_text("utf-8"), flags=re.MULTILINE)
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
    described = set(re.findall(r"`(--[a-z-]+)", sections()[full]))
    assert described == set(options) - {"--help"}
    page = (DOCS / "cli.md").read_text("utf-8")
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
    read = {API_KEY, *(name for *_, variables in COMMANDS for name in variables)}
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    named = {name for page in pages for name in re.findall(r"ADVICE_LEDGER_\w+", page.read_text("utf-8"))}
    assert named == read


def test_every_route_is_described() -> None:
    """docs/http.md names each operation of the OpenAPI document by method and path."""
    page = DOCS / "http.md"
    if not page.exists():
        pytest.skip("docs/http.md is not written yet")
    text = page.read_text("utf-8")
    paths = create_app(AppSettings("postgresql://nowhere")).openapi()["paths"]
    routes = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert routes
    assert [route for route in routes if route not in text] == []
