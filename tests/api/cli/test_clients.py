"""advice-ledger clients: what it records, what it shows and to whom, and imports that are whole or name the line."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.api.program import Ran, cli
from tests.support import connect


def run(url: str, *arguments: str) -> Ran:
    """Run a command about clients on this database."""
    return cli("clients", *arguments, "--database-url", url)


@pytest.mark.slow
def test_clients_are_registered_looked_up_and_changed(database_url: str) -> None:
    """Each change is an event of the operator, and each look is recorded; what cannot be is one line and exit 2."""
    first, second = (run(database_url, "add", name, "--json").json()["client"] for name in ("C-1", "D-1"))
    assert run(database_url, "add", "C-1").failed_with("registered")
    third = run(database_url, "alias", str(first), "C-1b", "--json").json()["client"]
    assert run(database_url, "assign", str(first), "--group", "zurich", "--until", "2040-01-01").code == 0
    assert run(database_url, "assign", str(first)).failed_with("subject")
    assert run(database_url, "assign", str(first), "--group", "bern", "--since", "noon").failed_with("noon")
    assert run(database_url, "merge", str(second), "--into", str(first)).code == 0
    rows = run(database_url, "list", "--prefix", "C-", "--json").json()
    assert [(row["id"], row["client_id"], row["groups"], row["merged_into"]) for row in rows] == [
        (first, "C-1", ["zurich"], None),
        (third, "C-1b", [], first),
    ]
    assert "group zurich, from ever until 2040-01-01 00:00" in run(database_url, "show", str(first)).out
    assert f"into client {first}" in run(database_url, "show", str(second)).out
    assert run(database_url, "show", "99").failed_with("99")
    assert run(database_url, "unassign", str(first), "--group", "zurich").code == 0
    with connect(database_url) as conn:
        query = "SELECT body::jsonb->'data'->>'resource' FROM events WHERE type = 'access.recorded' ORDER BY position"
        looks = [resource for (resource,) in conn.execute(query)]
        actors = conn.execute("SELECT DISTINCT body::jsonb->'actor'->>'role' FROM events WHERE stream LIKE 'client-%'")
        assert actors.fetchall() == [("operator",)]
    assert looks == ["advice-ledger clients list", *["advice-ledger clients show"] * 3]


def test_an_import_is_whole_or_names_the_line(database_url: str, tmp_path: Path) -> None:
    """A line of another form: nothing is recorded. An unknown client: nothing of its batch is. Again: nothing twice."""
    number = run(database_url, "add", "C-1", "--json").json()["client"]
    file = tmp_path / "assignments.ndjson"
    good = [orjson.dumps({"client_id": "C-1", "subject": f"s{at}"}) for at in range(1200)]

    def imported(*lines: bytes) -> Ran:
        file.write_bytes(b"\n".join(lines))
        return run(database_url, "import", str(file), "--json")

    def assigned() -> int:
        with connect(database_url) as conn:
            return int(conn.execute("SELECT count(*) FROM events WHERE type = 'client.assigned'").fetchall()[0][0])

    ran = imported(*good, b"{", b"x" * 20_000)
    assert (ran.code, assigned()) == (2, 0)
    assert [line.partition(":")[0] for line in ran.err.splitlines()] == ["line 1201", "line 1202", "line 1203", "error"]
    ran = imported(*good, orjson.dumps({"client_id": "nobody", "subject": "ann"}))
    assert (ran.code, assigned()) == (2, 1000)
    assert ran.err.splitlines()[0].startswith("line 1201: client_id")
    assert "nothing of lines 1001 to 1201 is recorded" in ran.err
    assert imported(*good, orjson.dumps({"client": number, "group": "x"})).json() == {"lines": 1201, "assigned": 201}
    assert imported(*good).json() == {"lines": 1200, "assigned": 0}
