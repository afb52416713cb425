"""A migration that waits says for whom, and ends after a while; a lock that nobody should have keeps nothing out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from api.cli import schema as command
from api.cli.schema import bring_up
from api.cli.shared import note
from api.postgres import blockers
from api.postgres.blockers import Blocked
from schema.migrate import MIGRATION_LOCK, migrate
from tests.support import connect, eventually, login_url

IGNORE = lambda *_: None  # noqa: E731 - no progress
LOCK = "SELECT pg_advisory_lock(%s)"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at once, and give up within a second."""
    monkeypatch.setattr(blockers, "QUIET_S", 0.05)
    monkeypatch.setattr(blockers, "LOOK_S", 0.05)
    monkeypatch.setattr(command, "watched", lambda url, conn, tell: blockers.watched(url, conn, tell, most_s=0.5))


@contextmanager
def holding(url: str, *statements: str) -> Iterator[int]:
    """Another session of the same login that holds locks in an idle transaction; yield its process id."""
    with connect(url, application="a forgotten psql") as holder, holder.transaction():
        for statement in statements:
            holder.execute(statement)
        yield holder.info.backend_pid


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("statement", "lock"),
    [
        (f"SELECT pg_advisory_lock({MIGRATION_LOCK})", "the lock of migrations"),
        ("LOCK TABLE events IN ROW EXCLUSIVE MODE", "the table events (ShareRowExclusiveLock)"),
    ],
)
def test_it_says_who_holds_what_and_gives_up(
    database_url: str, capfd: pytest.CaptureFixture[str], statement: str, lock: str
) -> None:
    """The message names process, login, application, state and lock, while it waits and at the end: nothing applied."""
    with holding(database_url, statement) as pid, pytest.raises(Blocked) as caught:
        bring_up(database_url, None, IGNORE)
    told = capfd.readouterr().err
    for text in (told, str(caught.value)):
        assert f"process {pid} (login postgres, application 'a forgotten psql', idle in transaction for" in text
        assert lock in text
    assert told.count("waiting, for at most 0.5 s") == 1
    assert "SELECT pg_terminate_backend(PID)" in str(caught.value)
    bring_up(database_url, None, IGNORE)


@pytest.mark.usefixtures("quick")
def test_it_goes_on_when_the_lock_is_free(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that ends in time is no failure."""
    told = threading.Event()
    monkeypatch.setattr(command, "note", lambda _text: told.set())
    monkeypatch.setattr(command, "watched", lambda url, conn, tell: blockers.watched(url, conn, tell, most_s=60))
    failures: list[BaseException] = []

    def run() -> None:
        try:
            bring_up(database_url, None, IGNORE)
        except BaseException as error:
            failures.append(error)
            raise

    migrating = threading.Thread(target=run)
    with holding(database_url, "LOCK TABLE events IN ROW EXCLUSIVE MODE"):
        migrating.start()
        assert told.wait(10)
    migrating.join(30)
    assert not migrating.is_alive()
    assert failures == []


def test_a_statement_that_somebody_else_cancels_is_no_wait(database_url: str) -> None:
    """The watch answers for what it cancelled itself, and for nothing else."""
    with (
        connect(database_url) as conn,
        pytest.raises(psycopg.errors.QueryCanceled),
        blockers.watched(database_url, conn, note),
    ):
        conn.execute("SET statement_timeout = '1ms'; SELECT pg_sleep(1)")


@pytest.mark.parametrize("role", [None, "writer", "reader", "projector", "signer", "verifier"])
def test_a_login_that_may_not_migrate_keeps_nobody_out(database_url: str, role: str | None) -> None:
    """Whoever may connect can take an advisory lock. Migrating goes on without that lock."""
    with login_url(database_url, role and f"ledger_{role}") as url, connect(database_url) as admin:
        names = (sql.Identifier(admin.info.dbname), sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["user"])))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))
        with psycopg.connect(url, autocommit=True) as stranger:
            stranger.execute(LOCK, [MIGRATION_LOCK])
            assert migrate(admin).applied == ()


def test_migrations_wait_for_each_other_without_that_lock(database_url: str) -> None:
    """What keeps them apart then is a lock on their own table, which only the owner can take."""
    with connect(database_url, "owner") as first, connect(database_url) as other:
        with first.transaction():
            first.execute("LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE")
            migrating = threading.Thread(target=migrate, args=(other,))
            migrating.start()
            waits = "SELECT pg_backend_pid() = ANY (pg_blocking_pids(%s))"
            pid = other.info.backend_pid
            eventually("it waits", lambda: first.execute(waits, [pid]).fetchone() == (True,))
        migrating.join(30)
        assert not migrating.is_alive()
