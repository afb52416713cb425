"""Create the roles of a ledger: who may connect to its database, and which roles are logins of their own.

Roles belong to the server. Another database's migration may change them at the same moment, so each step checks first,
and is retried.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psycopg
from psycopg import sql

ROLES = ("writer", "reader", "projector", "verifier", "signer", "eraser")
# Roles that also have the rights of another role, by membership.
HAVE_RIGHTS_OF = {"eraser": "projector"}
# Former names of roles. A ledger that an earlier version migrated keeps its logins: the role is renamed.
RENAMED_ROLES = {"sealer": "signer"}
# An idle transaction of these roles holds locks that others wait for. Their logins have this limit by default.
IDLE_IN_TRANSACTION = {"writer": "10s", "projector": "10s", "eraser": "10s"}
# The most connections of each role, in percent of the server's, and at least as many as one process of serve needs. So
# none can use up all; a tenth is left for the owner and for others. It counts for logins with the names of the roles.
MOST_CONNECTIONS = {
    "reader": (50, 20),
    "writer": (12, 6),
    "verifier": (10, 5),
    "signer": (8, 4),
    "projector": (8, 4),
    "eraser": (2, 2),
}
TRIES = 5

CONNECT_RIGHTS = (Path(__file__).parent / "connect_rights.sql").read_text("utf-8")


def role_name(schema: str, role: str) -> str:
    """Return the name of a role. Roles belong to the server: the schema name keeps those of two ledgers apart."""
    return f"{schema}_{role}"


def create_roles(conn: psycopg.Connection, schema: str) -> None:
    """Create the owner and the roles that are missing. A login that is not a superuser becomes a member of all."""
    superuser = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,)
    _rename_roles(conn, schema)
    for role in ("owner", *ROLES):
        name = role_name(schema, role)
        if not _has_role(conn, name):
            # A migration of another database on this server may have created the role since the query above.
            with contextlib.suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                conn.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(name)))
        if not superuser:
            conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(name)))
    _join_roles(conn, schema)
    for role, limit in IDLE_IN_TRANSACTION.items():
        _limit_idle(conn, role_name(schema, role), limit)
    for role, (percent, least) in MOST_CONNECTIONS.items():
        _limit_connections(conn, role_name(schema, role), percent, least)


def grant_on_database(conn: psycopg.Connection, database: str, schema: str) -> None:
    """Let the ledger's roles connect to the database, and nobody else without a grant."""
    owner, roles = role_name(schema, "owner"), [role_name(schema, role) for role in ROLES]
    if conn.execute(CONNECT_RIGHTS, {"database": database, "owner": owner, "roles": roles}).fetchone() == (False,):
        return
    statements = (
        "REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {database} TO {roles}",
        "GRANT CONNECT, CREATE ON DATABASE {database} TO {owner}",
    )
    for statement in statements:
        conn.execute(
            sql.SQL(statement).format(
                database=sql.Identifier(database),
                owner=sql.Identifier(owner),
                roles=sql.SQL(", ").join(map(sql.Identifier, roles)),
            )
        )


def allow_login(conn: psycopg.Connection, name: str, password: str | None = None) -> None:
    """Make a role a login. Without a password it can log in only where the server asks for none."""
    statement = sql.SQL("ALTER ROLE {} LOGIN").format(sql.Identifier(name))
    if password is not None:
        # The server and its log see only the SCRAM verifier.
        verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(verifier.decode()))
    elif conn.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [name]).fetchone() == (True,):
        return
    _change_role(conn, statement)


def _limit_idle(conn: psycopg.Connection, name: str, limit: str) -> None:
    setting = f"idle_in_transaction_session_timeout={limit}"
    present = "SELECT 1 FROM pg_roles WHERE rolname = %s AND %s = ANY (rolconfig)"
    if conn.execute(present, [name, setting]).fetchone() is None:
        statement = sql.SQL("ALTER ROLE {} SET idle_in_transaction_session_timeout = {}")
        _change_role(conn, statement.format(sql.Identifier(name), sql.Literal(limit)))


def _join_roles(conn: psycopg.Connection, schema: str) -> None:
    """Make roles members of others, and the owner one of all: so its end_append_blockers() may end their sessions."""
    owner = role_name(schema, "owner")
    members = [(owner, role_name(schema, role)) for role in ROLES]
    members += [(role_name(schema, member), role_name(schema, role)) for member, role in HAVE_RIGHTS_OF.items()]
    for member, role in members:
        if conn.execute("SELECT pg_has_role(%s, %s, 'USAGE')", [member, role]).fetchone() == (False,):
            _change_role(conn, sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member)))


def _limit_connections(conn: psycopg.Connection, name: str, percent: int, least: int) -> None:
    """Limit the connections of a role that has no limit yet: an operator may have set another one."""
    most = (
        "SELECT greatest(current_setting('max_connections')::int * %s / 100, %s) FROM pg_roles"
        " WHERE rolname = %s AND rolconnlimit = -1"
    )
    row = conn.execute(most, [percent, least, name]).fetchone()
    if row is not None:
        _change_role(conn, sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(sql.Identifier(name), row[0]))


def _change_role(conn: psycopg.Connection, statement: sql.Composed) -> None:
    for left in reversed(range(TRIES)):
        try:
            conn.execute(statement)
        except (psycopg.errors.InternalError_, psycopg.errors.UniqueViolation):  # "tuple concurrently updated"
            if not left:
                raise
        else:
            return


def _rename_roles(conn: psycopg.Connection, schema: str) -> None:
    """Rename roles that an earlier version named otherwise. Grants and memberships follow the role."""
    for former, role in RENAMED_ROLES.items():
        old, new = role_name(schema, former), role_name(schema, role)
        if _has_role(conn, old) and not _has_role(conn, new):
            # Another database on this server may rename it at the same moment.
            with contextlib.suppress(psycopg.errors.DuplicateObject, psycopg.errors.UndefinedObject):
                conn.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new)))


def _has_role(conn: psycopg.Connection, name: str) -> bool:
    return conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None
