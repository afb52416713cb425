"""Keeps the read models at the head of the chain: a thread with a connection of its own, woken by NOTIFY.

Every server process may run one; the lock on the row of `projections` lets one at a time apply a step. A read model
whose fold fails stands still, just before the event that it fails on, with the error recorded; the others go on, and
appends never wait for any of this.
"""

from __future__ import annotations

import logging
import threading

import psycopg
from psycopg import sql

from ledger.database import Connection, conninfo
from projections import registry
from projections.engine import STEP_EVENTS, StepFailed, describe_error, step
from projections.read_model import ReadModel

log = logging.getLogger(__name__)

# How long to sleep when no NOTIFY comes, and between attempts to connect.
IDLE_S = 1.0
RECONNECT_PAUSE_S = 0.25
# How often a sleeper looks whether it is to stop.
STOP_S = 0.2
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
        self._failing = False
        # How many events a read model's next step may have: fewer after a failure, to find the one that it is about.
        self._most = dict.fromkeys((found.name for found in registry.READ_MODELS), STEP_EVENTS)

    def stop(self) -> None:
        """Ends after the step in hand."""
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
                self._complain("the database does not serve the projector", error)

    def _follow(self, conn: Connection) -> None:
        while not self._stopping.is_set():
            # Old news first; what is notified from here on wakes the wait below, so no wake-up is lost.
            _drain(conn, timeout_s=0)
            moved = [self._advance(conn, read_model) for read_model in registry.READ_MODELS]
            if any(moved):
                self._stopping.wait(PACE_S)
            else:
                self._wait(conn)

    def _wait(self, conn: Connection) -> None:
        """Until news comes, IDLE_S have passed, or stop()."""
        left_s = IDLE_S
        while left_s > 0 and not self._stopping.is_set():
            if _drain(conn, timeout_s=min(left_s, STOP_S), most=1):
                return
            left_s -= STOP_S

    def _advance(self, conn: Connection, read_model: ReadModel) -> bool:
        """Whether to look again at once: the read model moved, or is to be tried with fewer events."""
        name = read_model.name
        try:
            moved = step(conn, read_model, self._most[name])
        except StepFailed as failed:
            if failed.upto > failed.after + 1:
                self._most[name] = (failed.upto - failed.after) // 2
                return True
            mark_failed(conn, read_model, failed)
            return False
        except psycopg.OperationalError as error:
            if conn.broken:
                raise
            self._complain(f"projection {name}", error)
            return False
        self._failing = False
        self._most[name] = min(STEP_EVENTS, self._most[name] * 2)
        return moved is not None

    def _complain(self, what: str, error: psycopg.Error) -> None:
        """Once, not four times a second for as long as the trouble lasts; and waits before the next try."""
        if not self._failing:
            log.warning("%s: %s; trying again until it works", what, describe_error(error))
        self._failing = True
        self._stopping.wait(RECONNECT_PAUSE_S)


def _drain(conn: Connection, *, timeout_s: float, most: int | None = None) -> int:
    """Takes notifications off the connection: at most `most`, or all that are there, within the time. How many."""
    return sum(1 for _ in conn.notifies(timeout=timeout_s, stop_after=most))


def mark_failed(conn: Connection, read_model: ReadModel, failed: StepFailed) -> None:
    """Records why the read model stopped, unless it was rebuilt meanwhile; it goes on after a rebuild."""
    reason = f"the fold fails at position {failed.upto}: {describe_error(failed.cause)}"
    log.error("projection %s stands still: %s", read_model.name, reason)
    conn.execute(
        "UPDATE projections SET error = %s, updated_at = clock_timestamp()"
        " WHERE name = %s AND digest = %s AND position = %s",
        [reason, read_model.name, read_model.digest, failed.after],
    )
