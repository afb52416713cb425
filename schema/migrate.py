"""Migrate a database to the schema of this version.

Each numbered migration is applied once, and the SHA-256 of its text is recorded. Functions, triggers and grants have a
file each and are applied again each time; types of events that are new in this version are added each time. Everything
happens in one transaction under an advisory lock: servers that start together wait for each other, and a crash leaves
the database as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from schema.database_roles import ROLES, create_roles, grant_on_database, role_name
from schema.errors import (
    BadOrigin,
    EditedMigration,
    ForeignOwner,
    NewerSchema,
    NotEmpty,
    NotPermitted,
    OnStandby,
    ServerTooOld,
)
from schema.events import CATALOGUE

HERE = Path(__file__).parent
# The objects that a migration makes, in the form of ledger/verify/objects.py.
OBJECTS = HERE / "objects.txt"
# The schema's comment says which version migrated it last: by `version_digest()`.
MIGRATED_BY = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = current_schema()"
OLDEST_SERVER = 140000
# An advisory lock of the whole database. functions/former_leads.sql has other numbers.
MIGRATION_LOCK = 0x41_4C_0001
RIVALS = (HERE / "migration_rivals.sql").read_text("utf-8")
# The seconds to wait for the lock before checking again who holds it.
LOOK_AGAIN = "5s"


@dataclass(frozen=True)
class MigrationReport:
    """The migrations that were applied, the schema, and the name of the ledger."""

    applied: tuple[str, ...]
    schema: str
    origin: str


@dataclass(frozen=True)
class Restored:
    """A ledger to make from a backup: the migrations that it had, with their digests, and a function that fills it."""

    migrations: Mapping[str, str]
    # Called in the transaction of `migrate()`, as soon as exactly these migrations are applied.
    load: Callable[[], None]


def migrate(
    conn: psycopg.Connection, *, schema: str = "ledger", origin: str | None = None, restored: Restored | None = None
) -> MigrationReport:
    """Create or upgrade the ledger in `schema`. `conn` is in autocommit mode, with a login that may create roles.

    `origin` names a new ledger (default: a random name); an existing one keeps its own. `restored` makes one from a
    backup; there must be none yet.
    Raises MigrationError; then nothing has changed, except that roles may have been created.
    """
    _check_server(conn)
    _check_primary(conn)
    locked = _keep_others_out(conn)
    try:
        create_roles(conn, schema)
        grant_on_database(conn, conn.info.dbname, schema)
        with conn.transaction():
            _check_owner(conn, schema)
            _create_schema(conn, schema)
            applied = _apply_migrations(conn, restored)
            conn.execute("SELECT set_config('check_function_bodies', 'off', true)")
            for file in sorted((HERE / "functions").glob("*.sql")) + sorted((HERE / "triggers").glob("*.sql")):
                conn.execute(file.read_bytes())
            _register_event_types(conn)
            _grant(conn, schema)
            comment = sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), version_digest())
            conn.execute(comment)
            origin = _name_ledger(conn, origin)
        set_search_path(conn, schema)
    except psycopg.errors.CheckViolation as error:
        raise BadOrigin(
            f"{origin!r} cannot name a ledger: 1 to 200 characters without space, plus or control character"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotPermitted(
            f"the database login may not do this: {error.diag.message_primary}; migrate with a login that may "
            "create roles and schemas (a superuser, or CREATEROLE and owner of the database)"
        ) from error
    finally:
        if locked and not conn.broken:
            conn.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
    return MigrationReport(tuple(applied), schema, origin)


def pending(conn: psycopg.Connection, *, schema: str = "ledger") -> list[str]:
    """Return the migrations that this database lacks. Raises MigrationError for a history of another version."""
    table = sql.Identifier(schema, "schema_migrations")
    row = conn.execute("SELECT to_regclass(%s)", [table.as_string(conn)]).fetchone()
    if row is None or row[0] is None:
        return [file.stem for file in _files()]
    done = {
        str(name): str(digest) for name, digest in conn.execute(sql.SQL("SELECT name, sha256 FROM {}").format(table))
    }
    return [file.stem for file in _check_history(done)]


def version_digest() -> str:
    """Return the digest of what a migration makes besides the numbered files: objects, and types of events."""
    kinds = sorted(f"{event.type} {event.schema_version}" for event in CATALOGUE.values())
    return hashlib.sha256("\n".join([_digest(OBJECTS), *kinds]).encode()).hexdigest()


def set_search_path(conn: psycopg.Connection, schema: str) -> None:
    """Make bare names work in psql. A database that already has a ledger on its path keeps it."""
    name = conn.info.dbname
    current = conn.execute(
        "SELECT unnest(setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " WHERE d.datname = %s AND s.setrole = 0",
        [name],
    ).fetchall()
    if not any(str(setting).startswith("search_path=") for (setting,) in current):
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET search_path = {}, public").format(
                sql.Identifier(name), sql.Identifier(schema)
            )
        )


def _keep_others_out(conn: psycopg.Connection) -> bool:
    """Wait for other migrations, then take the lock that keeps them out; return whether this session has it.

    It has not if a login holds the lock that may not migrate. The lock that `_create_schema` takes is out of its reach.
    """
    while conn.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK]).fetchone() != (True,):
        if conn.execute(RIVALS, [MIGRATION_LOCK]).fetchone() is None:
            return False
        with contextlib.suppress(psycopg.errors.LockNotAvailable), conn.transaction():
            conn.execute("SELECT set_config('lock_timeout', %s, true)", [LOOK_AGAIN])
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
    return True


def _check_server(conn: psycopg.Connection) -> None:
    if conn.info.server_version < OLDEST_SERVER:
        raise ServerTooOld(f"PostgreSQL 14 or newer is required; this server is {conn.info.server_version // 10000}")
    if conn.info.parameter_status("server_encoding") != "UTF8":
        raise ServerTooOld(
            "the database must have the encoding UTF8: create it with ENCODING 'UTF8' TEMPLATE template0"
        )


def _check_primary(conn: psycopg.Connection) -> None:
    if conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
        raise OnStandby(
            "this server is a standby, where nothing can be made or migrated: give the address of the primary, or use "
            "serve --read-only"
        )


def _create_schema(conn: psycopg.Connection, schema: str) -> None:
    name, owner = sql.Identifier(schema), sql.Identifier(role_name(schema, "owner"))
    conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(name, owner))
    conn.execute(sql.SQL("SET LOCAL ROLE {}").format(owner))
    # Functions keep this path (SET search_path FROM CURRENT). pg_temp is last, so that no temporary table shadows one.
    conn.execute(sql.SQL("SET LOCAL search_path = {}, pg_temp").format(name))
    conn.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    conn.execute("LOCK TABLE schema_migrations IN SHARE ROW EXCLUSIVE MODE")


def _check_owner(conn: psycopg.Connection, schema: str) -> None:
    """Raise ForeignOwner for tables that pg_restore made while the roles did not exist."""
    row = conn.execute(
        "SELECT pg_get_userbyid(relowner) FROM pg_class"
        " WHERE relname = 'schema_migrations' AND relnamespace = to_regnamespace(quote_ident(%s))",
        [schema],
    ).fetchone()
    owner = role_name(schema, "owner")
    if row is not None and row[0] != owner:
        raise ForeignOwner(
            f"the tables of the schema {schema} belong to {row[0]} and not to {owner}: they were restored while the "
            f"ledger's roles did not exist. Now they do: run DROP SCHEMA {schema}, {schema}_rebuild CASCADE, and "
            "restore again (docs/operate/backup.md)"
        )


def _apply_migrations(conn: psycopg.Connection, restored: Restored | None) -> list[str]:
    done = {str(name): str(digest) for name, digest in conn.execute("SELECT name, sha256 FROM schema_migrations")}
    if restored is not None:
        _check_restored(restored, done)
    applied = []
    for file in _check_history(done):
        conn.execute(file.read_bytes())
        conn.execute("INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)", [file.stem, _digest(file)])
        applied.append(file.stem)
        if restored is not None and restored.migrations.keys() == set(applied):
            restored.load()
    return applied


def _check_restored(restored: Restored, done: Mapping[str, str]) -> None:
    if done:
        raise NotEmpty("this database has a ledger already: restore into an empty database or a new data folder")
    _check_history(restored.migrations)
    first = [file.stem for file in _files()][: len(restored.migrations)]
    if sorted(restored.migrations) != first:
        raise EditedMigration(f"the backup names other migrations than the first {len(first)} of this version")


def _files() -> list[Path]:
    return sorted((HERE / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_history(done: Mapping[str, str]) -> list[Path]:
    """Return the migrations still to apply. Raises NewerSchema or EditedMigration."""
    files = {file.stem: file for file in _files()}
    if unknown := sorted(done.keys() - files.keys()):
        raise NewerSchema(
            f"this ledger was written by a newer advice-ledger (it has the migration {unknown[-1]}): "
            "install that version or a later one"
        )
    for name, digest in done.items():
        if _digest(files[name]) != digest:
            raise EditedMigration(
                f"the migration {name} was edited after it was applied here: restore its text, and make a new one"
            )
    return [file for name, file in files.items() if name not in done]


def _grant(conn: psycopg.Connection, schema: str) -> None:
    name = sql.Identifier(schema)
    conn.execute(sql.SQL("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {} FROM PUBLIC").format(name))
    for role in ROLES:
        text = (HERE / "roles" / f"{role}.sql").read_text("utf-8")
        conn.execute(sql.SQL(text).format(schema=name, role=sql.Identifier(role_name(schema, role))))


def _register_event_types(conn: psycopg.Connection) -> None:
    """Let append() accept the types of this version's catalogue."""
    kinds = [(event.type, event.schema_version) for event in CATALOGUE.values()]
    types, versions = map(list, zip(*kinds, strict=True))
    conn.execute((HERE / "event_types.sql").read_bytes(), {"types": types, "versions": versions})


def _name_ledger(conn: psycopg.Connection, origin: str | None) -> str:
    row = conn.execute("SELECT origin FROM head").fetchone()
    if row is None:
        origin = origin or f"localhost/ledger-{secrets.token_hex(6)}"
        row = conn.execute(
            "INSERT INTO head (origin, position, hash, recorded_at)"
            " VALUES (%s, 0, genesis_hash(%s), 'epoch') RETURNING origin",
            [origin, origin],
        ).fetchone()
    assert row is not None
    return str(row[0])
