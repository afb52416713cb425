"""Check with the writer's login whether an append succeeds and which failures acknowledged events survive."""

from __future__ import annotations

import psycopg

from api.postgres.connect import RoleDenied, connect
from ledger.database import Connection, Url
from ledger.store.blockers import named, read_blockers
from ledger.store.durability import Acknowledged, read_acknowledged
from ledger.store.writer_health import cause_of

IN_RECOVERY = "SELECT pg_is_in_recovery()"
# The most seconds for an append to succeed, and for a read model to move.
PATIENCE_S = 3
PATIENCE = f"SET lock_timeout = '{PATIENCE_S}s'; SET statement_timeout = '{PATIENCE_S + 1}s'"
CHECK_APPEND = "SELECT check_append(true)"


def try_append(url: Url) -> str | None:
    """Try an append, but record nothing.

    Return "ok", or the reason of the failure; None on a standby and for a login that may not append.
    """
    try:
        with connect(url, "writer") as conn:
            if conn.execute(IN_RECOVERY).fetchone() == (True,):
                return None
            conn.execute(PATIENCE)
            try:
                conn.execute(CHECK_APPEND)
            except psycopg.errors.LockNotAvailable as error:
                return named(cause_of(error), read_blockers(conn))
    except (RoleDenied, psycopg.errors.UndefinedFunction):
        return None
    except psycopg.Error as error:
        return cause_of(error)
    return "ok"


def acknowledged(url: Url, conn: Connection) -> Acknowledged | None:
    """Judge the settings of the login that records; those of `conn` if this login may not act as the writer."""
    try:
        with connect(url, "writer") as writer:
            return read_acknowledged(writer)
    except RoleDenied:
        return read_acknowledged(conn)
