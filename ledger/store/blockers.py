"""Find the sessions that block appends: they hold the row of head, or a lock on a table that append() needs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg

from ledger.database import AsyncConnection, Connection

log = logging.getLogger(__name__)

# The SQLSTATE of a statement that was cancelled because another session holds a lock.
LOCKED = "55P03"
BLOCKERS = "SELECT pid, login, application, state, for_s, held FROM append_blockers()"
END_BLOCKERS = "SELECT pid, login, application, state, for_s, held FROM end_append_blockers()"
# The number of sessions that a message names.
MOST = 3


class Blocker(NamedTuple):
    """A session that holds a lock. `state` and `for_s` are None if this login may not see them."""

    pid: int
    login: str
    application: str
    state: str | None
    for_s: float | None
    held: str

    def __str__(self) -> str:
        """Describe the session and its lock: `process 12 (login ann, application psql, idle in transaction for 40 s)
        holds …`."""
        doing = "" if self.state is None or self.for_s is None else f", {self.state} for {self.for_s:.0f} s"
        return f"process {self.pid} (login {self.login}, application {self.application!a}{doing}) holds {self.held}"


def read_blockers(conn: Connection) -> list[Blocker]:
    """Return the sessions that block appends. Raises psycopg.Error."""
    return [Blocker(*row) for row in conn.execute(BLOCKERS).fetchall()]


def locked_out(error: Exception) -> bool:
    """Return True if an append was cancelled because another session holds a lock that it needs."""
    found = error if isinstance(error, psycopg.Error) else error.__cause__
    return isinstance(found, psycopg.Error) and found.sqlstate == LOCKED


async def blockers_of(conn: AsyncConnection | None, error: Exception) -> list[Blocker]:
    """Return the sessions that hold the lock, if that is why an append on this connection was cancelled."""
    return [] if conn is None or not locked_out(error) else await _rows(conn, BLOCKERS)


async def end_blockers(conn: AsyncConnection) -> None:
    """End the sessions that have blocked appends for longer than the database allows its roles, and log them."""
    for ended in await _rows(conn, END_BLOCKERS):
        log.warning("ended a session that kept appends out: %s", ended)


def named(cause: str, blockers: Sequence[Blocker]) -> str:
    """Add the blockers to a cause."""
    return f"{cause}: {'; '.join(map(str, blockers[:MOST]))}" if blockers else cause


async def _rows(conn: AsyncConnection, query: Any) -> list[Blocker]:
    try:
        return [Blocker(*row) for row in await (await conn.execute(query)).fetchall()]
    except psycopg.Error:  # the connection may be lost as well, or an older version migrated this database
        return []
