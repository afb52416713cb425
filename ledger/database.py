"""Make connections: each has one role and one ledger, fixed when it is made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.errors import Unavailable
from schema.database_roles import IDLE_IN_TRANSACTION, ROLES, role_name

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True)
class RoleLogins:
    """A database in which each role of the ledger is a login of its own.

    `url` has the login of the owner. The others differ from it in the user's name, and the password, which libpq reads
    from the file `passwords` in its own format; without that file the server asks for none.
    """

    url: str = field(repr=False)
    passwords: Path | None = None


# Either a URL in libpq's form, whose login may act in every role; or a login for each role.
Url = str | RoleLogins

# The roles that only a primary can serve. For them, a URL with several hosts is searched for the primary.
WRITING_ROLES = frozenset({"owner", "writer", "projector", "signer", "eraser"})

# The settings that change the meaning or the result of a statement, whether it may run, or how long a short one takes.
# A login, a database or a server may have other defaults.
FIXED = {
    "array_nulls": "on",
    "backslash_quote": "safe_encoding",
    "bytea_output": "hex",
    "client_min_messages": "notice",  # the warning that a commit is on no standby must arrive: see `replicated`
    "datestyle": "ISO, MDY",
    "default_transaction_deferrable": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "intervalstyle": "postgres",
    "jit": "off",  # compiling one of our reads takes a hundred times as long as running it
    "lock_timeout": "0",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "timezone": "UTC",
    "transform_null_equals": "off",
    # The server notices within about fifteen seconds that our machine is gone, and releases our locks.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# A page of a search is a short range of an index, in memory or on a solid-state disk. With the default of 4, made for
# disks with heads, the planner takes the primary key instead and skips what does not match, all of it if need be.
RANDOM_PAGE_COST = {"reader": "1.1"}
# libpq adds PGDATESTYLE and PGTZ of the environment after our options, where they win. So these are set once more.
AFTER_CONNECTING = ("datestyle", "timezone")
# The first server version with transaction_timeout. An older one would refuse a connection that names it.
TRANSACTION_TIMEOUT_SINCE = 170_000
# Settings that every connection sets itself, so that a default of a role or database changes nothing for it. Role and
# search_path are not among them: a default of those changes what people see in psql.
SET_BY_EVERY_SESSION = frozenset({*FIXED, "client_encoding", "transaction_timeout"})
# The server's function that waits for a synchronous standby, and warns when it stops waiting.
SYNC_WAIT = "SyncRepWaitForLSN"


def login_of(url: Url, role: str | None, *, schema: str = "ledger") -> str:
    """Return the URL of the login that acts in this role."""
    if isinstance(url, str):
        return url
    parts = conninfo_to_dict(url.url)
    if role in ROLES:
        parts["user"] = role_name(schema, role)
        parts.pop("password", None)
    if url.passwords is not None and "password" not in parts:
        parts["passfile"] = str(url.passwords)
    return make_conninfo("", **parts)


def conninfo(
    url: Url, role: str | None, *, schema: str = "ledger", application: str = "advice-ledger", **settings: str
) -> str:
    """Return a libpq connection string for `url` that acts as `role`, such as "writer" or "owner" (schema/roles).

    Without a role, the login keeps its own rights, also if another role is its default. `settings` are server settings,
    such as statement_timeout="10s".
    Role, search_path and FIXED go through libpq's `options`, so they hold from the first statement. PgBouncer in
    transaction mode drops them and is not supported. Both sides notice a dead peer. Connect with `connect()` or
    `connect_async()`.
    """
    values = {**FIXED, "search_path": f"{_quoted(schema)},pg_temp"}
    values["role"] = "none" if role is None else role_name(schema, role)
    if role in IDLE_IN_TRANSACTION:
        values["idle_in_transaction_session_timeout"] = IDLE_IN_TRANSACTION[role]
    if role in RANDOM_PAGE_COST:
        values["random_page_cost"] = RANDOM_PAGE_COST[role]
    values |= settings
    url = login_of(url, role, schema=schema)
    parts = conninfo_to_dict(url)
    present = str(parts.get("options") or "")
    options = " ".join([present, *(f"-c {name}={_escaped(value)}" for name, value in values.items())]).strip()
    session = "read-write" if role in WRITING_ROLES else "any"
    return make_conninfo(
        url,
        options=options,
        application_name=application,
        client_encoding="UTF8",
        target_session_attrs=parts.get("target_session_attrs") or session,
        connect_timeout=5,
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )


def connect(conninfo: str) -> Connection:
    """Connect in autocommit mode with a string from `conninfo()`. No setting of the environment changes the result."""
    conn = psycopg.connect(conninfo, autocommit=True)
    with contextlib.ExitStack() as undo:
        undo.callback(conn.close)
        conn.execute(_rest(conn), prepare=False)
        undo.pop_all()
    return conn


async def connect_async(conninfo: str) -> AsyncConnection:
    """Connect as `connect()` does."""
    conn = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(conn.close)
        await fix_session(conn)
        undo.pop_all()
    return conn


async def fix_session(conn: AsyncConnection) -> None:
    """Complete a connection that a pool made with a string from `conninfo()`, in autocommit mode."""
    await conn.execute(_rest(conn), prepare=False)


def _rest(conn: Connection | AsyncConnection) -> sql.Composed:
    """Return the statements for the settings that `options` cannot fix."""
    settings = {name: FIXED[name] for name in AFTER_CONNECTING}
    if conn.info.server_version >= TRANSACTION_TIMEOUT_SINCE:
        settings["transaction_timeout"] = "0"
    return sql.SQL("; ").join(
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in settings.items()
    )


@contextlib.contextmanager
def replicated(conn: Connection | AsyncConnection) -> Iterator[None]:
    """Raise Unavailable after the block if PostgreSQL stopped waiting for a synchronous standby during it.

    It does so when somebody cancels the statement. The commit is then on this server alone, and PostgreSQL only sends a
    warning. Its text is translated, and its SQLSTATE is that of any warning: the function that raised it tells.
    """
    cancelled = []

    def notice(found: psycopg.errors.Diagnostic) -> None:
        if found.source_function == SYNC_WAIT:
            cancelled.append(found.sqlstate)

    conn.add_notice_handler(notice)
    try:
        yield
    finally:
        conn.remove_notice_handler(notice)
    if cancelled:
        raise Unavailable("the wait for the synchronous standby was cancelled, so the outcome is unknown; try again")


def one_line(error: psycopg.Error) -> str:
    """Return the message of PostgreSQL or libpq in one line, without details that may hold values of rows."""
    return " ".join((error.diag.message_primary or str(error)).split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
