"""advice-ledger import as a program: a bundle of another ledger, a killed import, wrong lines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.bundle.selection import Selection
from tests.api.cli.every_command import HISTORY
from tests.api.program import PROGRAM, cli
from tests.conftest import Template, ledger_copy
from tests.ledger.imports.scenes import SOURCE, count, rows
from tests.ledger.tlog.logs import key_for, sign
from tests.projections.scenes import ask
from tests.support import connect, eventually


@pytest.fixture
def bundle(server_url: str, template_database: Template, tmp_path: Path) -> tuple[Path, dict[str, object]]:
    """A bundle of all events of a ledger, and its rows."""
    with ledger_copy(server_url, template_database) as old:
        with connect(old) as conn:
            ask(conn, 3)
        sign(old, key_for(old), tmp_path / "last")
        file = tmp_path / "case.zip"
        with connect(old, "verifier") as conn, file.open("w+b") as out:
            write_bundle(
                conn,
                Selection("positions", first_position=1, last_position=count(old)),
                Disclosure(everything=True),
                out,
            )
        return file, {"rows": rows(old)}


def test_a_bundle_is_imported(bundle: tuple[Path, dict[str, object]], database_url: str) -> None:
    """Its rows are those of the other ledger; a second time nothing is recorded."""
    file, old = bundle
    arguments = ("import", str(file), "--source", SOURCE, "--json", "--database-url", database_url)
    ran = cli(*arguments)
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["recorded"], told["already_recorded"], told["left_out"]) == (3, 0, {})
    assert rows(database_url) == old["rows"]
    again = json.loads(cli(*arguments).out)
    assert (again["recorded"], again["already_recorded"]) == (0, 3)


def test_wrong_lines_are_named_and_nothing_is_recorded(database_url: str, tmp_path: Path) -> None:
    """Exit 2, a line on stderr for each; --check records nothing either way; a bad name of a source is refused."""
    good, bad = tmp_path / "good.ndjson", tmp_path / "bad.ndjson"
    good.write_bytes(orjson.dumps(HISTORY) + b"\n")
    bad.write_bytes(orjson.dumps(HISTORY) + b"\n{\n")
    ran = cli("import", str(bad), "--source", "old", "--database-url", database_url)
    assert (ran.code, ran.out) == (2, "")
    assert "bad.ndjson, line 2: line: Input should be a JSON object" in ran.err
    assert "1 line cannot be imported: nothing is recorded" in ran.err
    ran = cli("import", str(good), "--source", "old", "--check", "--database-url", database_url)
    assert (ran.code, ran.out) == (0, "every line can be imported\n")
    for wrong in (["--source", "Old"], ["--source", "old", "--recommendations", str(good)]):
        assert cli("import", str(good), *wrong, "--database-url", database_url).code == 2
    assert count(database_url) == 0


def test_a_name_in_a_file_does_not_reach_the_terminal_as_it_is(database_url: str, tmp_path: Path) -> None:
    """A member may be named by an escape sequence, or by a megabyte."""
    file = tmp_path / "history.ndjson"
    file.write_bytes(b"".join(orjson.dumps({**HISTORY, name: 1}) + b"\n" for name in ("\x1b[2J", "a" * 1_000_000)))
    ran = cli("import", file, "--source", "old", "--check", "--database-url", database_url)
    assert ran.code == 2
    assert "line 1: '\\x1b[2J': " in ran.err
    assert "\x1b" not in ran.err
    assert len(ran.err) < 1000


def test_a_pipe_is_refused(database_url: str, tmp_path: Path) -> None:
    """The second reading would find nothing in it, and the import would say that there was nothing to record."""
    os.mkfifo(tmp_path / "history")
    ran = cli("import", tmp_path / "history", "--source", "old", "--database-url", database_url)
    assert ran.code == 2
    assert "is a pipe or a device" in ran.err


def test_a_killed_program_is_run_again(database_url: str, tmp_path: Path) -> None:
    """Killed between batches, it goes on: each event is there once, in the order of the history."""
    file = tmp_path / "history.ndjson"
    with file.open("wb") as out:
        for number in range(1, 6001):
            line = {**HISTORY, "id": str(number), "stream": f"client-{number}", "data": {"client_id": f"c {number}"}}
            out.write(orjson.dumps(line) + b"\n")
    arguments = ["import", str(file), "--source", "old", "--json", "--database-url", database_url]
    program = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE)
    eventually("a batch is recorded", lambda: count(database_url), every_s=0.005)
    program.send_signal(signal.SIGKILL)
    program.communicate()
    told = json.loads(cli(*arguments).out)
    assert told["recorded"] + told["already_recorded"] == count(database_url) - 1 == 6000  # one is about the import
    with connect(database_url) as conn:
        query = "SELECT count(*) FROM events WHERE body::json->'backfill'->'source'->>'line' = position::text"
        assert conn.execute(query).fetchone() == (6000,)


def test_the_import_itself_is_on_record(database_url: str, tmp_path: Path) -> None:
    """Source, files with their digests, counts and importer, once for the same files, also after an import killed."""
    file = tmp_path / "history.ndjson"
    file.write_bytes(orjson.dumps(HISTORY) + b"\n")
    query = (
        "SELECT stream, body::json->'data', body::json->'actor'->>'role' FROM events WHERE type = 'history.imported'"
    )
    for _ in range(2):
        assert cli("import", file, "--source", "old", "--database-url", database_url).code == 0
        with connect(database_url) as conn:
            found = conn.execute(query).fetchall()
        [(stream, data, role)] = found
        assert (stream, role) == ("import-1", "operator")
        assert data == {
            "source": "old",
            "files": [
                {
                    "name": "history.ndjson",
                    "sha256": sha256(file.read_bytes()).hexdigest(),
                    "bytes": file.stat().st_size,
                }
            ],
            "events": 1,
            "imported": 1,
            "signatures_dropped": 0,
        }


def test_what_is_yet_to_come_is_not_imported(database_url: str, tmp_path: Path) -> None:
    """By the database's clock: the line is named, and nothing is recorded."""
    file = tmp_path / "history.ndjson"
    late = {**HISTORY, "id": "2", "stream": "client-2", "occurred_at": "2999-01-01T00:00:00Z"}
    file.write_bytes(orjson.dumps(HISTORY) + b"\n" + orjson.dumps(late) + b"\n")
    ran = cli("import", file, "--source", "old", "--database-url", database_url)
    assert (ran.code, "history.ndjson, line 2: occurred_at: " in ran.err) == (2, True)
    assert count(database_url) == 0
