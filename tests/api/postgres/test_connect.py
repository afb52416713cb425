"""Opening the database of a program: which URLs are accepted, what connecting refuses, and the supervisor."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import traceback
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.postgres import connect as database
from api.postgres.connect import (
    BadDatabaseUrl,
    CannotConnect,
    NoDataFolder,
    NoLedger,
    RoleDenied,
    check_url,
    open_database,
)
from api.postgres.embedded import EmbeddedPostgres
from ledger.database import one_line
from tests.support import connect, eventually, login_role, scratch_database


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:secret@host:5432/database",
        "postgresql://user:se%40cr%2Fet@host/database",
        "postgres://host",
        "postgresql:///database?host=/run/postgresql",
        "postgresql://user:secret@[::1]:5432,other:5433/database?target_session_attrs=read-write",
        "host=/tmp dbname=ledger password='se cret'",
    ],
)
def test_what_libpq_reads_is_taken(url: str) -> None:
    """URLs with one host or several, sockets, and key=value strings are accepted."""
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "postgresq://user:secret@host/database",
        "postgresql+psycopg://user:secret@host/database",
        "postgresql://user:sec@secret@host/database",
        "postgresql://user:sec/secret@host/database",
        "postgresql://user:12/secret@host/database",
        "postgresql://user:%zzsecret@host/database",
        "postgresql://user:secret@host/database?nonsense=1",
        "host=h password=sec secret",
        "secret",
    ],
)
def test_what_cannot_be_read_is_not_repeated(url: str) -> None:
    """BadDatabaseUrl is raised, also if libpq would take a part of the password for a host, a port or a database."""
    with pytest.raises(BadDatabaseUrl) as caught:
        check_url(url)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_url_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a URL, the data folder is not looked at."""
    with open_database("postgresql://host/database", Path("/nonexistent")) as url:
        assert url == "postgresql://host/database"


def test_a_folder_without_a_database_is_left_alone(tmp_path: Path) -> None:
    """NoDataFolder names the folder and the choices; nothing is created in it unless `make` allows that."""
    with pytest.raises(NoDataFolder, match=f"no ledger in {tmp_path}.*serve.*--data-dir"):
        open_database(None, tmp_path).__enter__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["a" * 80, "a..b", "127.0.0.1"])
def test_a_host_that_does_not_answer_is_one_line_without_the_password(host: str) -> None:
    """CannotConnect is one line, without the password, also for names that no host can have."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://user:secret@{host}:{unused.getsockname()[1]}/database"
        with pytest.raises(CannotConnect, match=r"^cannot connect to the database: ") as caught:
            database.connect(url, None)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_connection_acts_in_its_role(database_url: str) -> None:
    """Rights and search_path are the role's; without a role, the login's."""
    asked = "SELECT current_user, current_schema()"
    with database.connect(database_url, "verifier") as conn:
        assert conn.execute(asked).fetchone() == ("ledger_verifier", "ledger")
        assert conn.autocommit
    with database.connect(database_url, None) as conn:
        assert conn.execute("SELECT current_user = session_user").fetchone() == (True,)


def test_a_database_without_a_ledger_is_named(server_url: str, database_url: str) -> None:
    """NoLedger has the command to run, also if another database of the server has created the roles."""
    with scratch_database(server_url) as url:
        for role in ("owner", "reader"):
            with pytest.raises(NoLedger, match="has no ledger yet: run advice-ledger migrate"):
                database.connect(url, role)
        with pytest.raises(NoLedger):
            database.connect(url, "owner", schema="nobody")


def test_a_login_without_the_role_is_told_which(database_url: str) -> None:
    """RoleDenied names the login and the role that it lacks."""
    with login_role(database_url, "PASSWORD 'test'", member_of="ledger_reader") as login:
        url = make_conninfo(database_url, user=login, password="test")
        with pytest.raises(RoleDenied, match=f"{login} may not act as ledger_owner"):
            database.connect(url, "owner")
        database.connect(url, "reader").close()


@pytest.mark.slow
def test_the_supervisor_starts_a_killed_server_again() -> None:
    """After kill -9 of PostgreSQL it answers again within seconds, with all that was committed; and once more."""
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as name:
        folder = Path(name)
        with (
            EmbeddedPostgres(folder, settings={"fsync": "off"}) as server,
            open_database(None, folder, supervise=True),
        ):
            url = server.url
            with psycopg.connect(url) as conn:
                conn.execute("CREATE TABLE kept ()")
            for _ in range(2):
                killed = postmaster(folder)
                os.kill(killed, signal.SIGKILL)
                eventually(
                    "the server runs again",
                    lambda: server.is_running() and postmaster(folder) != killed,  # noqa: B023 - called at once
                )
                with psycopg.connect(url) as conn:
                    assert conn.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        assert not server.is_running()


def postmaster(folder: Path) -> int:
    """Return the process id of the server on a folder; 0 if there is none."""
    try:
        return int((folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    except FileNotFoundError:
        return 0


def test_one_line_has_no_values_of_rows(database_url: str) -> None:
    """An error's DETAIL, which quotes the row, is not repeated."""
    with connect(database_url, "owner") as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute("INSERT INTO stream_numbers (category, last) VALUES ('secret name', 1)")
    assert "secret name" in str(caught.value)
    assert "secret name" not in one_line(caught.value)
