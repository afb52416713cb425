"""Migrating: which logins and which servers will do, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from ledger.database import Connection
from schema import migrate as runner
from schema.errors import ForeignOwner, MigrationError, NotPermitted, ServerTooOld
from schema.migrate import migrate
from tests.support import append, login_role, new, scratch_database, session_of

MIGRATIONS = [file.stem for file in sorted((runner.HERE / "migrations").glob("*.sql"))]


def test_owner_of_the_database_migrates(server_url: str, other_schema: str) -> None:
    """A login that owns the database and may create roles, no superuser, makes a ledger, upgrades and uses it."""
    with scratch_database(server_url) as url, login_role(url, "CREATEROLE") as login:
        with psycopg.connect(url, autocommit=True) as conn, owned_by(conn, login):
            assert migrate(conn, schema=other_schema).applied == tuple(MIGRATIONS)
            assert migrate(conn, schema=other_schema).applied == ()
            conn.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(other_schema)))
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{other_schema}_writer")))
            append(conn, new("first"))
            conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{other_schema}_reader")))
            assert conn.execute("SELECT count(*) FROM events").fetchone() == (1,)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(other_schema)))


@contextmanager
def owned_by(conn: Connection, login: str) -> Iterator[None]:
    """The database belongs to `login` meanwhile, and the session has its rights and no others."""
    database, name = sql.Identifier(conn.info.dbname), sql.Identifier(login)
    conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, name))
    conn.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(name))
    try:
        yield
    finally:
        conn.execute("RESET SESSION AUTHORIZATION")
        conn.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))


@pytest.mark.parametrize("attribute", ["NOCREATEROLE", "CREATEROLE"])
def test_a_login_without_rights_is_refused_with_what_it_lacks(
    server_url: str, other_schema: str, attribute: str
) -> None:
    """A login that may not create roles, or does not own the database, is told what it lacks; no schema is made."""
    with scratch_database(server_url) as url, login_role(url, attribute) as login, session_of(url, login) as conn:
        with pytest.raises(NotPermitted, match="CREATEROLE and owner of the database"):
            migrate(conn, schema=other_schema)
        assert conn.execute("SELECT to_regnamespace(%s)", [other_schema]).fetchone() == (None,)


def test_an_old_server_is_refused(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server below the oldest that we know is refused with both versions in the message."""
    monkeypatch.setattr(runner, "OLDEST_SERVER", conn.info.server_version + 1)
    with pytest.raises(ServerTooOld, match=f"this server is {conn.info.server_version // 10000}"):
        migrate(conn)
    assert issubclass(ServerTooOld, MigrationError)


def test_another_encoding_is_refused(server_url: str) -> None:
    """A database that does not store UTF-8 would hash other bytes than it was sent: refused with what to do."""
    with psycopg.connect(server_url) as admin:
        provider = " LOCALE_PROVIDER libc" if admin.info.server_version >= 150000 else ""
    options = f"ENCODING 'LATIN1' TEMPLATE template0{provider} LC_COLLATE 'C' LC_CTYPE 'C'"
    with scratch_database(server_url, options=options) as url, psycopg.connect(url, autocommit=True) as conn:
        with pytest.raises(ServerTooOld, match="ENCODING 'UTF8'"):
            migrate(conn)
        assert conn.execute("SELECT to_regnamespace('ledger')").fetchone() == (None,)


def test_tables_that_were_restored_without_roles_are_named(server_url: str, other_schema: str) -> None:
    """As after pg_restore on a server that has no ledger's roles: everything belongs to the login that restored."""
    with scratch_database(server_url) as url, psycopg.connect(url, autocommit=True) as conn:
        migrate(conn, schema=other_schema)
        for table in ("schema_migrations", "events"):
            conn.execute(sql.SQL("ALTER TABLE {} OWNER TO CURRENT_USER").format(sql.Identifier(other_schema, table)))
        with pytest.raises(ForeignOwner, match=rf"belong to {conn.info.user} and not to {other_schema}_owner"):
            migrate(conn, schema=other_schema)
