"""Migrating: every way to a schema leads to the same one, and a wrong history is refused before anything changes."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledger.database import Connection
from ledger.proof.format.hashes import genesis_hash
from schema import migrate as runner
from schema.errors import BadOrigin, EditedMigration, NewerSchema
from schema.migrate import migrate, pending
from tests.schema.render import render
from tests.support import (
    append,
    check_chain,
    connect,
    eventually,
    login_role,
    new,
    refused,
    scratch_database,
    session_of,
)

MIGRATIONS = [file.stem for file in sorted((runner.HERE / "migrations").glob("*.sql"))]


@pytest.fixture
def edition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of schema/ that migrate() takes for its own, to be made into an older, newer or edited version."""
    shutil.copytree(runner.HERE, tmp_path / "schema", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runner, "HERE", tmp_path / "schema")
    return tmp_path / "schema"


def rendered(conn: Connection) -> str:
    """The schema as text; the path it needs is set for this connection."""
    conn.execute("SET search_path = ledger")
    return render(conn)


def shorten(edition: Path, count: int) -> None:
    """Reduce the edition to the first `count` migrations, without functions and grants that may need later ones."""
    for name in MIGRATIONS[count:]:
        (edition / "migrations" / f"{name}.sql").unlink()
    (edition / "event_types.sql").write_text("SELECT %(types)s::text[], %(versions)s::integer[]")
    for file in (*(edition / "functions").iterdir(), *(edition / "triggers").iterdir(), *(edition / "roles").iterdir()):
        if file.parent.name == "roles":
            file.write_text("SELECT 1")
        elif file.name != "genesis_hash.sql":
            file.unlink()


def test_the_first_migration_makes_an_empty_ledger(conn: Connection) -> None:
    """The first run applies every migration in order and makes a ledger of the given name, empty and usable."""
    assert pending(conn) == MIGRATIONS
    report = migrate(conn, origin="example.org/ledger")
    assert report == runner.MigrationReport(tuple(MIGRATIONS), "ledger", "example.org/ledger")
    assert pending(conn) == []
    conn.execute("SET search_path = ledger")
    head = conn.execute("SELECT origin, position, hash FROM head").fetchall()
    assert head == [("example.org/ledger", 0, genesis_hash("example.org/ledger"))]
    append(conn, new("first"))
    assert len(check_chain(conn)) == 1


def test_a_second_migration_changes_nothing(conn: Connection) -> None:
    """A second run applies nothing, keeps the ledger's name and events, and leaves the same schema."""
    first = migrate(conn)
    before = rendered(conn)
    append(conn, new("kept"))
    assert migrate(conn, origin="another/name") == runner.MigrationReport((), "ledger", first.origin)
    assert rendered(conn) == before
    assert [row.stream for row in check_chain(conn)] == ["kept"]


def test_again_repairs_functions_triggers_and_grants(conn: Connection) -> None:
    """Migrating again repairs functions, triggers and grants that were changed by hand."""
    migrate(conn)
    before = rendered(conn)
    conn.execute(
        "CREATE OR REPLACE FUNCTION genesis_hash(origin text) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'"
    )
    conn.execute("ALTER TABLE events DISABLE TRIGGER refuse_change")
    conn.execute("DROP TRIGGER check_head ON head")
    conn.execute("REVOKE ALL ON FUNCTION append(text) FROM ledger_writer")
    conn.execute("GRANT EXECUTE ON FUNCTION append(text) TO PUBLIC")
    assert rendered(conn) != before
    migrate(conn)
    assert rendered(conn) == before


@pytest.mark.parametrize("count", range(1, len(MIGRATIONS)))
def test_an_upgraded_schema_equals_a_fresh_one(
    server_url: str, edition: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A ledger made with any number of the first migrations is upgraded to the very schema of a fresh one."""
    with ExitStack() as stack:
        old, fresh = (
            stack.enter_context(psycopg.connect(stack.enter_context(scratch_database(server_url)), autocommit=True))
            for _ in range(2)
        )
        shorten(edition, count)
        assert migrate(old).applied == tuple(MIGRATIONS[:count])
        monkeypatch.setattr(runner, "HERE", Path(runner.__file__).parent)
        assert migrate(old).applied == tuple(MIGRATIONS[count:])
        migrate(fresh)
        assert rendered(old) == rendered(fresh)


def test_the_next_version_is_applied_on_top(conn: Connection, edition: Path) -> None:
    """A migration that comes later is applied alone, by its number, and recorded; the events stay."""
    migrate(conn)
    conn.execute("SET search_path = ledger")
    append(conn, new("kept"))
    (edition / "migrations" / "9000_next.sql").write_text("CREATE TABLE next (id int)")
    assert pending(conn) == ["9000_next"]
    assert migrate(conn).applied == ("9000_next",)
    assert "next\tnext\tkind r owner owner" in rendered(conn)
    assert len(check_chain(conn)) == 1


def test_an_edited_migration_is_refused(conn: Connection, edition: Path) -> None:
    """A migration whose text changed after it was applied is refused by name, and nothing is changed."""
    migrate(conn)
    before = rendered(conn)
    (edition / "functions" / "append.sql").write_text("DROP FUNCTION append")
    with (edition / "migrations" / f"{MIGRATIONS[1]}.sql").open("a") as file:
        file.write("-- a remark\n")
    for attempt in (migrate, pending):
        with pytest.raises(EditedMigration, match=MIGRATIONS[1]):
            attempt(conn)
    assert rendered(conn) == before


def test_a_newer_schema_is_refused(conn: Connection) -> None:
    """A database with a migration that this version does not have is refused by its name, and nothing is changed."""
    migrate(conn)
    conn.execute("INSERT INTO ledger.schema_migrations VALUES ('9999_from_the_future', 'x')")
    before = rendered(conn)
    for attempt in (migrate, pending):
        with pytest.raises(NewerSchema, match="9999_from_the_future"):
            attempt(conn)
    assert rendered(conn) == before


def test_a_failing_migration_leaves_nothing(conn: Connection, edition: Path) -> None:
    """When one migration fails, none is applied, and the lock is free for the next attempt."""
    broken = edition / "migrations" / "9000_broken.sql"
    broken.write_text("CREATE TABLE half (id int); SELECT 1 / 0")
    with refused("22012"):
        migrate(conn)
    assert conn.execute("SELECT to_regnamespace('ledger')").fetchone() == (None,)
    locks = (
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
    )
    assert conn.execute(locks).fetchone() == (0,)
    broken.unlink()
    assert migrate(conn).applied == tuple(MIGRATIONS)


def test_a_name_that_cannot_be_is_refused(conn: Connection) -> None:
    """A ledger's name with a space or a plus, which checkpoints could not carry, makes no ledger."""
    for origin in ("two words", "a+b", "x" * 201):
        with pytest.raises(BadOrigin):
            migrate(conn, origin=origin)
    assert conn.execute("SELECT to_regnamespace('ledger')").fetchone() == (None,)


def migrate_at_once(urls: list[str], schema: str) -> list[runner.MigrationReport]:
    """A run of migrate() for each URL, all started at the same moment."""
    start = threading.Barrier(len(urls))

    def run(url: str) -> runner.MigrationReport:
        with psycopg.connect(url, autocommit=True) as conn:
            start.wait(30)
            return migrate(conn, schema=schema)

    with ThreadPoolExecutor(len(urls)) as pool:
        return list(pool.map(run, urls))


def test_two_at_once_make_one_ledger(server_url: str) -> None:
    """If servers start together on an empty database, one applies the migrations and none fails."""
    with scratch_database(server_url) as url:
        reports = migrate_at_once([url] * 4, "ledger")
    assert sorted(report.applied for report in reports) == [(), (), (), tuple(MIGRATIONS)]
    assert len({report.origin for report in reports}) == 1


def test_databases_of_one_server_migrate_at_once(server_url: str, other_schema: str) -> None:
    """Roles belong to the whole server: ledgers made at once in several databases share them and none fails.

    Each gets a name of its own, so that their chains differ from the first hash on.
    """
    with ExitStack() as stack:
        urls = [stack.enter_context(scratch_database(server_url)) for _ in range(3)]
        reports = migrate_at_once(urls, other_schema)
    assert [report.applied for report in reports] == [tuple(MIGRATIONS)] * 3
    assert len({report.origin for report in reports}) == 3


def test_a_role_that_another_makes_meanwhile_is_used(server_url: str, other_schema: str) -> None:
    """A role that appears between looking for it and making it, from another database's migration, is no error."""
    with scratch_database(server_url) as url, ThreadPoolExecutor(1) as pool:
        with psycopg.connect(server_url) as other:
            other.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(f"{other_schema}_owner")))
            running = pool.submit(migrate_at_once, [url], other_schema)
            waiting = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
            )
            eventually("the migration waits", lambda: other.execute(waiting).fetchone() != (0,))
            assert not running.done()
        assert running.result(30)[0].applied == tuple(MIGRATIONS)


def test_a_former_role_name_is_replaced(server_url: str, other_schema: str) -> None:
    """A ledger whose signing role has its former name migrates: the role is renamed, its grants and members stay."""
    former, name = (sql.Identifier(f"{other_schema}_{role}") for role in ("sealer", "signer"))
    roles = "SELECT rolname FROM pg_roles WHERE rolname IN (%s, %s)"
    with scratch_database(server_url) as url, login_role(url) as login:
        with psycopg.connect(url, autocommit=True) as conn:
            migrate(conn, schema=other_schema)
            conn.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(name, former))
            conn.execute(sql.SQL("GRANT {} TO {}").format(former, sql.Identifier(login)))
            assert migrate(conn, schema=other_schema).applied == ()
            assert conn.execute(roles, [f"{other_schema}_sealer", f"{other_schema}_signer"]).fetchall() == [
                (f"{other_schema}_signer",)
            ]
        with session_of(url, login) as conn:
            conn.execute(sql.SQL("SET ROLE {}").format(name))
            conn.execute(sql.SQL("SELECT * FROM {}.checkpoints").format(sql.Identifier(other_schema)))


def test_two_ledgers_in_one_database_share_nothing(server_url: str, other_schema: str) -> None:
    """Ledgers in two schemas have their own events, numbers and roles."""
    with scratch_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            migrate(conn)
            migrate(conn, schema=other_schema)
        with connect(url, "writer") as ours, connect(url, "writer", schema=other_schema) as theirs:
            assert append(theirs, new("n-"), new("n-"))[1].stream == "n-2"
            assert append(ours, new("n-"))[0].stream == "n-1"
            with refused("42501"):
                theirs.execute("SELECT * FROM ledger.append('')")
        with connect(url) as ours, connect(url, schema=other_schema) as theirs:
            assert (len(check_chain(ours)), len(check_chain(theirs))) == (1, 2)


def test_bare_names_work_in_psql(server_url: str) -> None:
    """A new session sees the ledger's tables without a schema; a search path that was set before is left alone."""
    with scratch_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as conn:
            migrate(conn)
        with psycopg.connect(url, autocommit=True) as conn:
            assert conn.execute("SELECT count(*) FROM events").fetchone() == (0,)
            ours = sql.Identifier(conn.info.dbname)
            conn.execute(sql.SQL("ALTER DATABASE {} SET search_path = public").format(ours))
            migrate(conn)
        with psycopg.connect(url, autocommit=True) as conn:
            assert conn.execute("SHOW search_path").fetchone() == ("public",)
