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
    """A libpq connection string for `url` that acts as `role`: writer, reader, projector, verifier or owner.

    `role` None keeps the login's own rights. `settings` are server settings, such as statement_timeout="10s". Role and
    search_path go through libpq's `options`, so they hold from the first statement; PgBouncer in transaction mode
    drops them and is not supported. A dead peer is noticed within about ten seconds.
    """
    wanted = {"search_path": f"{_quoted(schema)},pg_temp", "timezone": "UTC", **settings}
    if role is not None:
        wanted["role"] = f"{schema}_{role}"
    given = str(conninfo_to_dict(url).get("options") or "")
    options = " ".join([given, *(f"-c {name}={_escaped(value)}" for name, value in wanted.items())]).strip()
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
    """What the database, or libpq, said: without line breaks, and without details that may hold values of rows."""
    return " ".join((error.diag.message_primary or str(error)).split())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
