"""Rewrite the planner's statistics. ANALYZE keeps samples of values in pg_statistic, also of tables that no longer
exist.

Only VACUUM FULL rewrites a catalogue. It keeps rows that a transaction may still see, so it waits for earlier
transactions.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic, sleep

from psycopg import sql

from ledger.database import Connection
from ledger.erasure.rewrite import ScrubFailed
from ledger.short_lock import until_free

OPEN_BEFORE = Path(__file__).with_name("open_before.sql").read_bytes()
MAY = (
    "SELECT r.rolsuper OR pg_has_role(d.datdba, 'USAGE') FROM pg_database d, pg_roles r"
    " WHERE d.datname = current_database() AND r.rolname = current_user"
)
FILE = "SELECT pg_relation_filenode('pg_catalog.pg_statistic')"
VACUUM = "VACUUM (FULL) pg_catalog.pg_statistic"
NOT_PERMITTED = (
    "the login may not write the catalogue pg_statistic anew: scrub with a login that owns the database, or a superuser"
)
POLL_S = 0.05
# The longest wait for earlier transactions, in seconds.
PATIENCE_S = 600.0


def may_rewrite(conn: Connection) -> bool:
    """Return whether this login may rewrite catalogues of the database: its owner and superusers may."""
    return conn.execute(MAY).fetchone() == (True,)


def rewrite_statistics(conn: Connection, patience_s: float = PATIENCE_S) -> None:
    """Rewrite pg_statistic. `conn` has the login's own rights, in autocommit mode.

    Raises ScrubFailed, TableBusy or psycopg.Error. Call it only if `may_rewrite` returns True.
    """
    _wait_for_transactions(conn, patience_s)
    before = conn.execute(FILE).fetchone()

    def attempt(patience_ms: int) -> None:
        conn.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(patience_ms)))
        conn.execute(VACUUM)

    until_free(attempt)
    if conn.execute(FILE).fetchone() == before:  # VACUUM only warns about a table that it skips
        raise ScrubFailed(NOT_PERMITTED)


def _wait_for_transactions(conn: Connection, patience_s: float) -> None:
    """Wait for the end of all transactions in this database that are open now."""
    deadline = monotonic() + patience_s
    waited_for = dict(conn.execute(OPEN_BEFORE).fetchall())
    while waited_for:
        if monotonic() > deadline:
            pids = ", ".join(map(str, sorted(set(waited_for.values()))))
            raise ScrubFailed(f"transactions of the database's processes {pids} do not end: end them, and run it again")
        sleep(POLL_S)
        now = dict(conn.execute(OPEN_BEFORE).fetchall())
        waited_for = {transaction: pid for transaction, pid in waited_for.items() if transaction in now}
