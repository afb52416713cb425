"""Keeps the read models at the head of the chain: a thread with a connection of its own, woken by NOTIFY.

Every server process may run one: the lock on a row of `projections` lets only one of them apply a step. A stream that a
fold cannot take is set aside. A read model whose SQL does not run at all stops, and the error is recorded; the other
read models go on. Appends never wait for the projector.
"""

from __future__ import annotations

import logging
from enum import Enum, auto

import psycopg
from psycopg import sql

from ledger.background import DatabaseWorker, Failure
from ledger.database import Connection, Url, conninfo
from projections import registry
from projections.engine import LOOK_AFTER_LOOK, StepFailed, describe_error, look, step
from projections.read_model import ReadModel

log = logging.getLogger(__name__)

# The longest sleep without a NOTIFY, and the pause after a failure.
IDLE_S = 1.0
RECONNECT_PAUSE_S = 0.25
# The longest sleep of a projector before it checks whether it must stop.
STOP_S = 0.2
# The pause after a round that moved read models. It doubles with each such round, from the first to the second value:
# a single event is shown at once, and under load fewer and larger steps leave the cores to appends and reads. There is
# no pause while more events wait than a step takes.
FIRST_PAUSE_S = 0.001
MOST_PAUSE_S = 0.016


class Projector(DatabaseWorker):
    """Follows the head until stop(). The login of `url` must be allowed to act as the ledger's projector."""

    def __init__(self, url: Url, *, schema: str = "ledger") -> None:
        super().__init__(
            "projector",
            conninfo(
                url,
                "projector",
                schema=schema,
                application="advice-ledger projector",
                # One transaction writes rows and position. After a crash that loses the last steps, they are repeated.
                synchronous_commit="off",
                **LOOK_AFTER_LOOK,
            ),
        )
        self._channel = schema
        # The error of the last step of each read model, until the next one that moves it.
        self._errors: dict[str, str] = {}

    def follow(self, conn: Connection) -> None:
        """Apply new events to the read models, woken by NOTIFY."""
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            # First take the notifications that are here already. A later one ends the wait below, so none is lost.
            _drain(conn, timeout_s=0)
            found = look(conn, registry.all_models())
            for read_model in found.moved:
                self._errors.pop(read_model.name, None)
            outcomes = [self._advance(conn, read_model) for read_model in found.touched]
            self._report_errors()
            if _Outcome.FAILED in outcomes:
                self._stopping.wait(RECONNECT_PAUSE_S)
            if not found.moved and _Outcome.AGAIN not in outcomes:
                pause_s = FIRST_PAUSE_S
                self._wait(conn)
            elif not found.more:
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, MOST_PAUSE_S)

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe errors of the database, which does not answer or has no ledger yet, without values of rows."""
        if isinstance(error, psycopg.Error):
            return Failure(f"the database failed: {describe_error(error)}", RECONNECT_PAUSE_S)
        return None

    def _report_errors(self) -> None:
        """Report the errors of all read models at once: one that moves is no news about another that fails."""
        if self._errors:
            self.report_failure("; ".join(self._errors.values()))
        else:
            self.report("running")

    def _wait(self, conn: Connection) -> None:
        """Wait for a notification, for IDLE_S at most, or for stop()."""
        left_s = IDLE_S
        while left_s > 0 and not self._stopping.is_set():
            if _drain(conn, timeout_s=min(left_s, STOP_S), most=1):
                return
            left_s -= STOP_S

    def _advance(self, conn: Connection, read_model: ReadModel) -> _Outcome:
        name = read_model.name
        try:
            moved = step(conn, read_model)
        except StepFailed as failed:
            mark_failed(conn, read_model, failed)
            return _Outcome.NOTHING_NEW
        except psycopg.OperationalError as error:
            if conn.broken:
                raise
            self._errors[name] = f"read model {name}: {describe_error(error)}"
            return _Outcome.FAILED
        if moved is not None:
            self._errors.pop(name, None)
        return _Outcome.NOTHING_NEW if moved is None else _Outcome.AGAIN


class _Outcome(Enum):
    """The result of one step of a read model. AGAIN: there may be more to do at once."""

    AGAIN = auto()
    NOTHING_NEW = auto()
    FAILED = auto()


def _drain(conn: Connection, *, timeout_s: float, most: int | None = None) -> int:
    """Take notifications off the connection, `most` at most, for up to `timeout_s`. Return how many there were."""
    return sum(1 for _ in conn.notifies(timeout=timeout_s, stop_after=most))


def mark_failed(conn: Connection, read_model: ReadModel, failed: StepFailed) -> None:
    """Record why the read model stopped, unless it was rebuilt meanwhile. After a rebuild it goes on."""
    reason = f"the fold fails after position {failed.after}: {describe_error(failed.cause)}"
    log.error("read model %s stopped: %s", read_model.name, reason)
    conn.execute(
        "UPDATE projections SET error = %s, updated_at = clock_timestamp()"
        " WHERE name = %s AND digest = %s AND position = %s",
        [reason, read_model.name, read_model.digest, failed.after],
    )
