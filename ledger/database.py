"""Connections: each has one role and one ledger, fixed when it is made. And the numbers of all advisory locks."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from schema import migrate

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]

# Advisory locks. Any numbers will do, as long as they differ from each other. MIGRATION_LOCK is one for the whole
# database; the others are taken together with a hash of the schema's name, so that each ledger has its own.
MIGRATION_LOCK = migrate.MIGRATION_LOCK
REBUILD_LOCK = 0x41_4C_0002
SIGNER_LOCK = 0x41_4C_0003
VERIFIER_LOCK = 0x41_4C_0004


def conninfo(
    url: str, role: str | None, *, schema: str = "ledger", application: str = "advice-ledger", **settings: str
) -> str:
    """Return a libpq connection string for `url` that acts as `role`, such as "writer" or "owner" (schema/roles).

    Without a role, the login keeps its own rights. `settings` are server settings, such as statement_timeout="10s".
    Role and search_path are set through libpq's `options`, so they hold from the first statement on. PgBouncer in
    transaction mode drops them and is not supported. A dead server is noticed within about ten seconds.
    """
    values = {"search_path": f"{_quoted(schema)},pg_temp", "timezone": "UTC", **settings}
    if role is not None:
        values["role"] = f"{schema}_{role}"
    present = str(conninfo_to_dict(url).get("options") or "")
    options = " ".join([present, *(f"-c {name}={_escaped(value)}" for name, value in values.items())]).strip()
    return make_conninfo(
        url,
        options=options,
        application_name=application,
        connect_timeout=5,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
    )


def one_line(error: psycopg.Error) -> str:
    """Return the message of PostgreSQL or libpq in one line, without details that may hold values of rows."""
    return " ".join((error.diag.message_primary or str(error)).split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
