"""Keeps the read models at the head of the chain: a thread with a connection of its own, woken by NOTIFY.

Every server process may run one; the lock on the row of `projections` lets one at a time apply a step. A read model
whose fold fails stands still with its error recorded, and the others go on; appends never wait for any of this.
"""

from __future__ import annotations

import logging
import threading

import psycopg
from psycopg import sql

from ledger.database import conninfo
from projections.engine import PROJECTIONS, Connection, Projection, step

log = logging.getLogger(__name__)

# How long to sleep when no NOTIFY comes, and between attempts to connect.
IDLE_S = 1.0
RECONNECT_PAUSE_S = 0.25
# Between two rounds that had work: under load, fewer and larger steps leave the cores to appends and reads.
PACE_S = 0.01


class Projector(threading.Thread):
    """Follows the head until stop(). `url` is for a login that may act as the ledger's projector."""

    def __init__(self, url: str, *, schema: str = "ledger") -> None:
        super().__init__(name="projector", daemon=True)
        self._conninfo = conninfo(
            url,
            "projector",
            schema=schema,
            application="advice-ledger projector",
            # Rows and position are written together, so a crash that loses the last steps only has them done again.
            synchronous_commit="off",
        )
        self._channel = schema
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ends after the step in hand; at the latest when the current wait for news is over."""
        self._stopping.set()
        self.join(timeout=10)

    def run(self) -> None:
        """Connects, follows, and connects again when the database went away."""
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as conn:
                    conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    self._follow(conn)
            except psycopg.Error as error:  # it does not answer, or has no ledger yet
                log.warning("projector: the database does not serve it (%s); trying again", type(error).__name__)
                self._stopping.wait(RECONNECT_PAUSE_S)

    def _follow(self, conn: Connection) -> None:
        while not self._stopping.is_set():
            # Old news first; what is notified from here on wakes the wait below, so no wake-up is lost.
            _drain(conn, timeout_s=0)
            if any([self._advance(conn, read_model) for read_model in PROJECTIONS]):
                self._stopping.wait(PACE_S)
            else:
                _drain(conn, timeout_s=IDLE_S, most=1)

    def _advance(self, conn: Connection, read_model: Projection) -> bool:
        try:
            return step(conn, read_model) is not None
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            stand_still(conn, read_model, error)
            return False


def _drain(conn: Connection, *, timeout_s: float, most: int | None = None) -> None:
    """Takes notifications off the connection: at most `most`, or all that are there, within the time."""
    for _ in conn.notifies(timeout=timeout_s, stop_after=most):
        pass


def stand_still(conn: Connection, read_model: Projection, error: psycopg.Error) -> None:
    """Records why the read model stopped; it goes on after a rebuild. The message holds no values of events."""
    reason = f"{error.diag.message_primary or type(error).__name__} (SQLSTATE {error.sqlstate})"
    log.error("projection %s stands still: SQLSTATE %s", read_model.name, error.sqlstate)
    conn.execute(
        "UPDATE projections SET error = %s, updated_at = clock_timestamp() WHERE name = %s", [reason, read_model.name]
    )
