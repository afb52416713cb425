"""The pages agree with the code: commands, options, variables, events, states, refusals, policies, paths, messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from typer.core import TyperGroup

from api.agents.run.json_diff import Difference
from api.agents.run.replay import Report
from api.cli.commands import COMMANDS as TABLE_OF_COMMANDS
from api.cli.commands import load
from api.cli.status import ReadModel as StatusReadModel
from api.cli.status import Status
from api.cli.status_tlog import LogState
from api.http.problem_types import PROBLEMS
from api.settings import CONFIG, Settings, variable
from api.witness.store import RefusedNote
from ledger.domain.decisions import MEMBERS
from ledger.domain.four_eyes import FourEyes
from ledger.domain.reasons import ReasonCodes
from ledger.tlog.endorse.endorsers import EndorserStatus
from ledger.tlog.quorum import LatestEndorsement
from ledger.verify.report import Covered
from schema.events import CATALOGUE
from tests.ledger.domain.test_case import HEADER, REFUSALS, TABLE
from tests.pages import code, is_named, table_with, words_of
from tests.paths import DOCS, ROOT

EVENTS = (DOCS / "formats/events.md").read_text("utf-8")
NAME = "advice-ledger"
# Decisions and the changelog are history: they keep the names of their time.
PAGES = [ROOT / "README.md", *(page for page in DOCS.rglob("*.md") if page.parent.name != "decisions")]


class Command(NamedTuple):
    """A command or a group of commands: its full name, and its options and environment variables."""

    name: str
    options: list[str]
    variables: list[str]


def sections() -> dict[str, str]:
    """Return the sections of docs/use/cli.md about a command, by its name."""
    parts = re.split(rf"^##+ ({NAME} .+)$", (DOCS / "use/cli.md").read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def all_commands(group: Mapping[str, Any], name: str = NAME) -> Iterator[Command]:
    """Yield each command and group below a group."""
    for command in group.values():
        full = f"{name} {command.name}"
        flags = [flag for option in command.params for flag in (*option.opts, *option.secondary_opts)]
        options = [flag for flag in flags if flag.startswith("-")]
        yield Command(full, options, [str(option.envvar) for option in command.params if option.envvar])
        if isinstance(command, TyperGroup):
            yield from all_commands(command.commands, full)


PROGRAMS = {name: load(name) for name in TABLE_OF_COMMANDS}
COMMANDS = list(all_commands(PROGRAMS))


def test_every_command_has_a_section() -> None:
    """There is one section for each command, and none for a command that does not exist."""
    assert sections().keys() == {command.name for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=[command.name for command in COMMANDS])
def test_every_option_is_described(command: Command) -> None:
    """The section of a command has all of its options, in code, and no others; the page has its variables."""
    described = set(re.findall(r"`(--?[a-z][a-z-]*)", sections()[command.name]))
    assert described == set(command.options) - {"--help"}
    page = (DOCS / "use/cli.md").read_text("utf-8")
    assert [name for name in command.variables if f"`{name}`" not in page] == []


def test_the_table_of_commands_has_their_first_sentence() -> None:
    """`advice-ledger --help` imports no command, and has the same first sentence as the help of each."""
    for name, entry in TABLE_OF_COMMANDS.items():
        assert " ".join(PROGRAMS[name].help.split()).startswith(entry.help)


def test_every_command_and_option_has_help() -> None:
    """--help explains each command and each option."""
    found = [command for program in PROGRAMS.values() for command in walk(program)]
    assert [command.name for command in found if not command.help] == []
    options = [(command, option) for command in found for option in command.params]
    assert [f"{command.name} {option.name}" for command, option in options if not getattr(option, "help", None)] == []


def walk(command: Any) -> Iterator[Any]:
    """Yield a command and all commands below it."""
    yield command
    if isinstance(command, TyperGroup):
        for below in command.commands.values():
            yield from walk(below)


def test_every_variable_in_the_text_exists() -> None:
    """The pages name exactly the environment variables that the program reads."""
    of_commands = {name for command in COMMANDS for name in command.variables}
    read = {CONFIG, *map(variable, Settings.model_fields), *of_commands}
    named = {name for page in PAGES for name in re.findall(r"ADVICE_LEDGER_\w+", page.read_text("utf-8"))}
    assert named == read


def test_every_event_is_in_the_catalogue() -> None:
    """The catalogue of the page is that of the code: the same order, and the same sealed members."""
    documented = {}
    for row in table_with(EVENTS, "event", "sealed").rows:
        [name] = code(row["event"])
        documented[name] = set(code(row["sealed"]))
    assert list(documented) == list(CATALOGUE)
    assert documented == {name: set(kind.sealed) for name, kind in CATALOGUE.items()}


# The columns of both tables of docs/formats/events.md, as the commands of the table that the code is tested by.
DECISIONS = [f"{outcome}{how}" for outcome in MEMBERS for how in ("", ", second")]
AGENTS = {
    "start a call": ["start a call"],
    "answer": ["answer"],
    "answer in its place": ["answer in its place"],
    "fail": ["fail"],
}
PEOPLE = {
    "open": ["open"],
    "decide": DECISIONS,
    "confirm": ["approve of it", "decline"],
    "communicate": ["communicate"],
}

MISTAKES = {name: [name] for name in ("withdraw the request", "withdraw the decision", "revoke")}


@pytest.mark.parametrize("columns", [AGENTS, PEOPLE, MISTAKES], ids=["agents", "people", "mistakes"])
def test_the_machine_is_as_documented(columns: dict[str, list[str]]) -> None:
    """Each cell names the states or the refusal that the tested table has for these commands in this state."""
    documented = {row["state"]: row for row in table_with(EVENTS, "state", *columns).rows}
    assert list(documented) == list(HEADER)
    for state, row in documented.items():
        for title, commands in columns.items():
            assert results(row[title], state) == {TABLE[command][state] for command in commands}, (state, title)


def results(cell: str, state: str) -> set[str]:
    """Return the refusals in code and the states that a cell names; = is the state itself."""
    refusals = set(code(cell))
    assert refusals <= set(REFUSALS)
    states = words_of(re.sub(r"`[^`]+`", "", cell), HEADER)
    return refusals | states | ({state} if cell == "=" else set())


def test_every_refusal_is_named() -> None:
    """Each conflict of a command, and each problem that a command may raise, is named in docs/formats/events.md."""
    general = {"idempotency-key-reused", "client-conflict", "busy", "job-ended", "export-not-ready", "export-failed"}
    refusals = {slug for slug, status in PROBLEMS.items() if status == 409} - general
    source = "".join(path.read_text("utf-8") for path in (ROOT / "ledger/domain").rglob("*.py"))
    raised = set(re.findall(r'(?:Refused|NotFound)\(\s*"([a-z-]+)"', source))
    assert raised >= refusals
    assert [name for name in sorted(raised) if f"`{name}`" not in EVENTS] == []


def test_the_policies_are_described() -> None:
    """Thresholds, codes and groups of the packaged policies are those of the text."""
    policies = EVENTS.partition("## Policies")[2]
    reasons = ReasonCodes.load().reasons.values()
    described = set(code(policies))
    assert [reason.code for reason in reasons if not {reason.code, reason.group} <= described] == []
    thresholds = [
        f"{rule.amount_usd_at_least:,.0f}" if rule.amount_usd_at_least else f"{rule.change_at_least:.2f}"
        for rule in FourEyes.load().rules
        if rule.reason_codes is None
    ]
    assert len(thresholds) == 2
    assert [text for text in thresholds if text not in policies] == []


# The types whose members a command prints as JSON.
JSON_OF: dict[str, list[type]] = {
    "advice-ledger status": [Status, StatusReadModel, LogState, LatestEndorsement],
    "advice-ledger replay": [Report, Difference],
    "advice-ledger verify": [Covered],
    "advice-ledger sign": [EndorserStatus],
    "advice-ledger witness status": [RefusedNote],
}


@pytest.mark.parametrize("command", JSON_OF)
def test_the_members_of_json_are_described(command: str) -> None:
    """The section of a command names each member of its JSON that a type declares."""
    members = {name for kind in JSON_OF[command] for name in kind.__annotations__}
    assert [name for name in sorted(members) if not is_named(name, sections()[command])] == []


PATH = re.compile(r"`((?:schema|ledger|projections|api|client|tests|docs)/[\w./-]*)`")


def test_every_path_in_the_text_exists() -> None:
    """Each path of this repository that a page names in code exists; NAME in it stands for any name."""
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in PAGES
        for path in PATH.findall(page.read_text("utf-8"))
        if not any(ROOT.glob(path.replace("NAME", "*").rstrip("/")))
    ]
    assert missing == []


def test_the_size_of_the_auditors_program_is_true() -> None:
    """Each page that says how many lines `ledger/proof` has is right, within a hundred lines."""
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in (ROOT / "ledger/proof").rglob("*.py"))
    said = {
        (page.name, int(number.replace(",", "")))
        for page in PAGES
        for number in re.findall(r"\b(\d,\d{3})\s+lines", page.read_text("utf-8"))
    }
    assert {name for name, _ in said} >= {"README.md", "auditor.md"}
    assert [(name, number) for name, number in said if abs(number - lines) > 100] == [], f"it has {lines}"


def messages(folder: str) -> list[str]:
    """Return the texts in the Python files of a folder; each value that is put into a text is a blank."""
    found = []
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else " " for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


@pytest.mark.parametrize(
    ("page", "title", "folder"),
    [
        ("operate/tlog.md", "message", "ledger/tlog/sign"),
        ("operate/witnesses.md", "message about a witness in the program's log", "ledger/tlog/endorse"),
    ],
)
def test_the_messages_that_pages_explain_exist(page: str, title: str, folder: str) -> None:
    """Each message in the table is one of the code; …, numbers and capital letters stand for a value."""
    texts = messages(folder)
    for row in table_with((DOCS / page).read_text("utf-8"), title).rows:
        for message in code(row[title]) or [row[title]]:
            parts = [part.strip() for part in re.split(r"…|\b[A-Z]+\b|\b\d+\b", message)]
            pattern = ".*".join(re.escape(part) for part in parts)
            assert any(re.search(pattern, text, re.DOTALL) for text in texts), message


COLUMNS = 100


def prose(page: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page with their numbers, except fenced and indented blocks and tables."""
    fenced = False
    for number, line in enumerate(page.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    ") and not line.lstrip().startswith("|"):
            yield number, line


def test_prose_has_at_most_100_columns() -> None:
    """A longer line of prose is one that has no blank outside code to break it at."""
    long = [
        f"{page.relative_to(ROOT)}:{number}"
        for page in [*PAGES, ROOT / "CHANGELOG.md"]
        for number, line in prose(page.read_text("utf-8"))
        if len(line) > COLUMNS and " " in re.sub(r"`[^`]*`", "", line).strip()
    ]
    assert long == []


def test_decisions_are_numbered_without_gap_or_double() -> None:
    """Each record of a decision has its own number, in its name and its title."""
    records = sorted((DOCS / "decisions").glob("*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04}" for number in range(1, len(records) + 1)]
    for number, record in enumerate(records, 1):
        assert record.read_text("utf-8").startswith(f"# {number}. ")
