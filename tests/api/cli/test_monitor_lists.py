"""advice-ledger monitor recorded: inputs of runs are listed, and who sees those of clients is on record."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli.monitor import app
from api.cli.shared import CannotRun
from tests.api.program import Ran, cli, variables
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import watch
from tests.support import connect

LOOKS = """
    SELECT body::json->'data'->>'resource', body::json->'data'->'clients', body::json->'data'->'parameters'
    FROM events WHERE type = 'access.recorded' ORDER BY position
"""
FLOW = {"portfolio": "p1", "reference": "1", "date": "2026-03-02", "kind": "cash-in", "amount": "7", "currency": "USD"}
VALUES = {"A": "1", "B": "2", "C": "3", "D": "4", "E": "5"}
VALUATION = {"portfolio": "p2", "as_of": "2026-03-02", "source": "bank", "currency": "USD", "values": VALUES}


LATER = {**FLOW, "reference": "2", "date": "2099-01-01"}
HELD = {"portfolio": "p1", "as_of": "2026-03-02", "positions": {"EQ": "1"}}
SPLIT = {"asset": "EQ", "date": "2026-03-02", "action": "split", "ratio": "2:1"}
# Files with a wrong line, by command: the lines, and the line and field that are named.
WRONG: list[tuple[str, list[dict[str, Any]], str]] = [
    ("flows", [{**FLOW, "amount": "-1"}], "line 1: amount"),
    ("flows", [{**FLOW, "amount": "NaN"}], "line 1: amount"),
    ("flows", [{**FLOW, "portfolio": "p9"}], "line 1: portfolio"),
    ("flows", [FLOW, LATER], "line 2: date"),
    ("valuations", [{**VALUATION, "values": {"A": "Infinity"}}], "line 1: values.A"),
    ("valuations", [{**VALUATION, "as_of": "2026-02-30"}], "line 1: as_of"),
    ("holdings", [{**HELD, "as_of": "2099-01-01"}], "line 1: as_of"),
    ("holdings", [{**HELD, "positions": {"EQ": "1e3"}}], "line 1: positions.EQ"),
    ("actions", [{**SPLIT, "ratio": "0:1"}], "line 1: ratio"),
]


@pytest.fixture
def recorded(database_url: str, tmp_path: Path) -> str:
    """A ledger with a flow that was corrected and taken back, a valuation, and corporate actions."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1", "p2"])

    asyncio.run(work())
    inputs: list[tuple[str, list[dict[str, Any]]]] = [
        ("flows", [FLOW]),
        ("flows", [{**FLOW, "amount": "8"}]),
        ("flows", [{**FLOW, "portfolio": "p2", "date": "2026-03-03", "kind": "cash-out"}]),
        ("valuations", [VALUATION]),
        (
            "actions",
            [
                {"asset": "EQ", "date": "2026-03-02", "action": "split", "ratio": "2:1"},
                {"asset": "OLD", "date": "2026-03-02", "action": "renamed", "to": "NEW"},
                {"asset": "BD", "date": "2026-03-04", "action": "delisted", "price": "3", "currency": "USD"},
            ],
        ),
    ]
    for name, lines in inputs:
        file = tmp_path / f"{name}.ndjson"
        file.write_text("\n".join(map(json.dumps, lines)))
        assert run(database_url, name, file).code == 0
    return database_url


def run(url: str, *arguments: object) -> Ran:
    """Run `advice-ledger monitor` with these arguments."""
    return cli("monitor", *arguments, env=variables(database_url=url))


def listed(url: str, *arguments: object) -> list[dict[str, Any]]:
    """Return the rows of a list."""
    ran = run(url, "recorded", *arguments, "--json")
    assert ran.code == 0, ran
    found: list[dict[str, Any]] = ran.json()
    return found


def test_inputs_are_listed(recorded: str) -> None:
    """All records, by filters and in pages, in a table and as JSON; each look at clients is recorded before."""
    first, second, other = listed(recorded, "flows")
    assert [row["amount"] for row in (first, second, other)] == ["7", "8", "7"]
    assert first["replaced_by"] == second["id"]
    assert listed(recorded, "flows", "--portfolio", "p1", "--limit", 1) == [first]
    assert listed(recorded, "flows", "--after", second["id"]) == [other]
    assert listed(recorded, "flows", "--kind", "cash-out", "--date", "2026-03-03") == [other]
    [valued] = listed(recorded, "valuations", "--source", "bank", "--date", "2026-03-02", "--portfolio", "p2")
    assert valued["amounts"] == VALUES
    assert [row["asset"] for row in listed(recorded, "actions")] == ["EQ", "OLD", "BD"]
    assert [row["asset"] for row in listed(recorded, "actions", "--action", "split", "--asset", "EQ")] == ["EQ"]
    tables = {name: run(recorded, "recorded", name, "--limit", 3).out for name in ("actions", "flows", "valuations")}
    assert f"replaced by {second['id']}" in tables["flows"]
    assert "A 1, B 2, C 3, and 2 more" in tables["valuations"]
    assert [word in tables["actions"] for word in ("2:1", "NEW", "3 USD")] == [True] * 3
    assert run(recorded, "recorded", "flows", "--limit", 1).out.endswith(f"there are more: --after {first['id']}\n")
    with connect(recorded) as conn:
        looks = conn.execute(LOOKS).fetchall()
    names = [name.removeprefix("advice-ledger monitor recorded ") for name, _, _ in looks]
    assert names == ["flows"] * 4 + ["valuations", "flows", "valuations", "flows"]
    assert looks[0][1:] == ([1, 2], None)
    assert looks[1][1:] == ([1], ["portfolio"])
    assert looks[4][1:] == ([2], ["portfolio", "source", "valued_on"])


def test_nothing_that_fits_shows_nobody(recorded: str) -> None:
    """An empty list says so, and no access is recorded: it shows no client. A wrong option is refused."""
    assert run(recorded, "recorded", "flows", "--portfolio", "p9").out == "there are no such flows\n"
    assert listed(recorded, "valuations", "--portfolio", "p1") == []
    assert run(recorded, "recorded", "actions", "--action", "merged").code == 2
    assert run(recorded, "recorded", "flows", "--limit", 0).code == 2
    with connect(recorded) as conn:
        assert conn.execute(LOOKS).fetchall() == []


def test_files_with_a_wrong_line_record_nothing(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line and the field are named, and the right lines are not recorded either; nor is a file that is cut off."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1", "p2"])

    asyncio.run(work())
    texts = [(name, "\n".join(map(json.dumps, lines)), field) for name, lines, field in WRONG]
    texts.append(("flows", f"{json.dumps(FLOW)}\n{json.dumps(FLOW)[:40]}", "line 2"))
    with connect(database_url) as conn:
        before = conn.execute("SELECT position FROM head").fetchone()
        for name, text, field in texts:
            file = tmp_path / "bad.ndjson"
            file.write_text(text)
            done = CliRunner().invoke(app, [name, str(file), "--database-url", database_url])
            said = done.stderr + capsys.readouterr().err
            assert f"{field}: " in said, (text, said)
            assert isinstance(done.exception, CannotRun), text
            assert str(done.exception) == "lines are not valid: nothing is recorded"
        assert conn.execute("SELECT position FROM head").fetchone() == before
