"""backup and restore on real ledgers: what they print, the file's mode, exit codes, and a crash in the middle."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from psycopg import sql

from tests.api.program import Ran, cli
from tests.support import append, connect, login_role, new, requested, scratch_database

# The process kills itself as soon as the rows of the events are on their way.
KILLED = """
import os, signal
from ledger.backup import restore

class Backup(restore.Backup):
    def _load(self, conn, table, on_progress):
        super()._load(conn, table, on_progress)
        if table.name == "events":
            os.kill(os.getpid(), signal.SIGKILL)

restore.Backup = Backup
"""


def on(url: str, *arguments: object, before: str = "") -> Ran:
    """Run a command on this database."""
    return cli(*arguments, "--database-url", url, before=before)


@pytest.fixture
def file(database_url: str, tmp_path: Path) -> Path:
    """A backup of a ledger with three events."""
    with connect(database_url, "writer") as conn:
        append(conn, *(new("request-", requested()) for _ in range(3)))
    path = tmp_path / "ledger.backup"
    assert on(database_url, "backup", "-o", path).code == 0
    return path


def test_backup_says_what_it_holds(database_url: str, file: Path, tmp_path: Path) -> None:
    """Only its owner can read the file. It is not written over, and nothing else is left beside it."""
    assert file.stat().st_mode & 0o777 == 0o600
    assert on(database_url, "backup", "-o", file).failed_with("exists already")
    found = on(database_url, "backup", "-o", tmp_path / "second", "--json").json()
    assert (found["position"], found["rows"]["events"], found["rows"]["head"]) == (3, 3, 1)
    text = on(database_url, "backup", "-o", tmp_path / "third")
    assert (f"ledger {found['origin']} up to position 3" in text.out, "personal data" in text.err) == (True, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.backup", "second", "third"]


def test_backup_names_what_it_cannot_write(database_url: str, tmp_path: Path) -> None:
    """A folder that does not exist; a login that may not read all; a ledger of an older version."""
    assert on(database_url, "backup", "-o", tmp_path / "none" / "file").failed_with("No such file or directory")
    with login_role(database_url, member_of="ledger_reader") as login:
        url = f"{database_url} user={login}"
        assert on(url, "backup", "-o", tmp_path / "file").failed_with("may not act as ledger_verifier")
    with connect(database_url) as admin:
        admin.execute("REVOKE SELECT ON recording_keys FROM ledger_verifier")
    assert on(database_url, "backup", "-o", tmp_path / "file").failed_with(
        "recording_keys", "run advice-ledger migrate"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tampers
def test_a_ledger_without_a_head_is_not_backed_up(database_url: str, tmp_path: Path) -> None:
    """Its backup would have no end to compare with."""
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE head DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM head")
    assert on(database_url, "backup", "-o", tmp_path / "file").failed_with("has no head", "advice-ledger verify")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_restore_verifies_what_it_made(file: Path, server_url: str) -> None:
    """The ledger is complete: its read models are built, its chain holds, and nothing is left to do."""
    with scratch_database(server_url) as url:
        done = on(url, "restore", file)
        assert done.code == 0, done
        assert "verified: the chain holds, and ends as the backup says" in done.out
        assert "the signing key is not in a backup" in done.err
        assert on(url, "status", "--json").json()["position"] == 3
        assert on(url, "verify").code == 0
        assert on(url, "restore", file).failed_with("has a ledger already")


def test_restore_into_a_new_data_folder(file: Path) -> None:
    """The embedded database is made for it."""
    # Not in pytest's folder: see server_url().
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as name:
        data_dir = Path(name) / "data"
        done = cli("restore", file, "--json", "--data-dir", data_dir)
        assert done.code == 0, done
        found = done.json()
        assert (found["ok"], found["position"], found["findings"], found["grants"]) == (True, 3, [], [])
        status = cli("status", "--json", "--data-dir", data_dir).json()
    assert (status["objects_changed"], status["privileged_logins"]) == ([], [])


def test_a_chain_that_does_not_hold_is_restored_and_reported(database_url: str, server_url: str, file: Path) -> None:
    """The backup of a ledger that somebody altered is evidence: restore keeps it as it is, and exits 1."""
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        conn.execute("UPDATE events SET type = 'request.failed' WHERE position = 2")
        conn.execute("UPDATE events SET body = replace(body, 'balanced', 'cautious') WHERE position = 2")
    altered = file.with_name("altered")
    assert on(database_url, "backup", "-o", altered).code == 0
    with scratch_database(server_url) as url:
        done = on(url, "restore", altered)
        assert (done.code, "FAILED: the chain in the backup does not hold" in done.out) == (1, True)
        assert "position 2" in done.out
    # So that the fixture's own check of the source passes.
    with connect(database_url) as conn:
        conn.execute("UPDATE events SET type = 'portfolio.requested' WHERE position = 2")
        conn.execute("UPDATE events SET body = replace(body, 'cautious', 'balanced') WHERE position = 2")


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_no_ledger(file: Path, server_url: str) -> None:
    """It can be run again."""
    with scratch_database(server_url) as url:
        assert on(url, "restore", file, before=KILLED).code == -9
        assert on(url, "status").failed_with("has no ledger yet")
        assert on(url, "restore", file).code == 0


def test_logins_that_lack_their_role_are_named(database_url: str, server_url: str, tmp_path: Path) -> None:
    """A backup holds no password and makes no login; restore says who had which role."""
    with login_role(database_url, member_of="ledger_writer") as login:
        assert on(database_url, "backup", "-o", tmp_path / "file").code == 0
        with connect(database_url) as conn:
            conn.execute(sql.SQL("REVOKE ledger_writer FROM {}").format(sql.Identifier(login)))
        with scratch_database(server_url) as url:
            found = on(url, "restore", tmp_path / "file", "--json").json()
            assert found["grants"] == [f'GRANT "ledger_writer" TO "{login}"']


@pytest.mark.parametrize("name", ["none", "text"])
def test_a_file_that_is_no_backup_could_not_run(tmp_path: Path, name: str) -> None:
    """It is named before a database is opened."""
    (tmp_path / "text").write_text(json.dumps({}))
    assert cli("restore", tmp_path / name, "--data-dir", tmp_path / "data").failed_with(name)
    assert not (tmp_path / "data").exists()
