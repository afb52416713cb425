"""One name for each thing: no name that the glossary retired is used in code, SQL, pages or the API."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from api.app import create_app
from api.services import Parts
from tests.pages import code, table_with
from tests.test_tidy import PROSE_SUFFIXES, files, read

# Old names may be used here. Decisions and the changelog are history. Migrations are never edited. The upgrade of an
# old ledger, and its tests, meet old names in the database.
HISTORY = (
    "CHANGELOG.md",
    "docs/decisions/",
    "docs/glossary.md",
    "schema/database_roles.py",
    "schema/migrations/",
    "tests/schema/test_migrate.py",
    "tests/schema/test_preconditions.py",
    "tests/test_names.py",
)


def words(line: str) -> str:
    """Return a line in lower case, its identifiers split into words: `SealRefused` and `seal_refused` are the same."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+", " ", line)
    return re.sub(r" +", " ", spaced).lower()


@cache
def retired() -> list[re.Pattern[str]]:
    """Return a pattern for each name in the table of retired names of docs/glossary.md. Its * stands for any ending."""
    table = table_with(read(Path("docs/glossary.md")), "retired", "now")
    names = [name for row in table.rows for name in code(row["retired"])]
    assert len(names) > 10
    return [
        re.compile(f"{_start(name)}{re.escape(name).replace(re.escape('*'), '[a-z]*')}(?![a-z0-9])") for name in names
    ]


def _start(name: str) -> str:
    return r"(?<!\w)" if name[0].isalnum() else ""


def lines_with_retired(text: str) -> list[int]:
    """Return the numbers of the lines that have a retired name."""
    lines = enumerate(map(words, text.splitlines()), 1)
    return [number for number, line in lines if any(pattern.search(line) for pattern in retired())]


def test_no_retired_name_is_used() -> None:
    """Code, SQL, pages and settings have no name that the glossary retired, except where they tell history."""
    suffixes = PROSE_SUFFIXES | {".toml", ".json"}
    texts = {path: read(path) for path in files() if path.suffix in suffixes and not str(path).startswith(HISTORY)}
    assert [f"{path}:{number}" for path, text in texts.items() for number in lines_with_retired(text)] == []


def test_the_api_has_no_retired_name() -> None:
    """Neither has the OpenAPI document, whose texts come from many files."""
    document = create_app(Parts("postgresql://nowhere")).openapi()
    assert lines_with_retired(json.dumps(document, indent=1)) == []


@pytest.mark.parametrize(
    "line",
    [
        "class SealRefused(Error):",
        "--seal-every",
        "ledger_sealer",
        "def test_nobody_seals_meanwhile",
        "Use the stop button.",
        "guards = 1",
        "a/approvals",
        "[The log format](tlog.md)",
    ],
)
def test_the_search_for_retired_names_finds_them(line: str) -> None:
    """It finds them in identifiers, options, roles, paths and sentences."""
    assert lines_with_retired(f"fine\n{line}\n") == [2]


def test_names_in_use_are_not_retired() -> None:
    """Words that look like retired ones pass: sealed fields, an approved decision, a signer."""
    assert lines_with_retired("sealed_fields record_sealed approve unopened_approvals signer sign_every") == []
