"""Keep the read models at the head of the chain: a thread with a connection of its own, woken by NOTIFY.

Every server process may run one: the lock on a row of `projections` lets only one of them apply a step. A stream that a
fold cannot take is set aside. A read model whose SQL does not run at all stops, and the error is recorded; the other
read models go on. Appends never wait for the projector.

While many events wait, a projector calls its helper: a second thread with a connection of its own, which takes the read
models from the other end of the list. So two cores of the database work, each on the read model that is next, and a
read waits for its own read model only. Whoever ends a step looks again, so what one leaves to the other is done.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from enum import Enum, auto

import psycopg
from psycopg import sql

from ledger.background import DatabaseWorker, Failure
from ledger.database import Connection, Url, conninfo
from projections import registry
from projections.engine import LOOK_AFTER_LOOK, Look, StepFailed, describe_error, look, step
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
# A round with at least so many events is one for two. A smaller one takes some milliseconds.
HELP_EVENTS = 200


class _Stepper(DatabaseWorker):
    """A thread that takes steps on a connection. The login of `url` must be allowed to act as projector."""

    def __init__(self, name: str, url: Url, *, schema: str) -> None:
        super().__init__(
            name,
            conninfo(
                url,
                "projector",
                schema=schema,
                application=f"advice-ledger {name}",
                # One transaction writes rows and position. After a crash that loses the last steps, they are repeated.
                synchronous_commit="off",
                **LOOK_AFTER_LOOK,
            ),
        )
        # The error of the last step of each read model, until the next one that moves it.
        self._errors: dict[str, str] = {}

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe errors of the database, which does not answer or has no ledger yet, without values of rows."""
        if isinstance(error, psycopg.Error):
            return Failure(f"the database failed: {describe_error(error)}", RECONNECT_PAUSE_S)
        return None

    def _steps(self, conn: Connection, found: Look, touched: Sequence[ReadModel]) -> bool:
        """Take a step of each read model that a look found touched. Return whether the round changed anything."""
        for read_model in found.moved:
            self._errors.pop(read_model.name, None)
        outcomes = [self._advance(conn, read_model) for read_model in touched]
        self._report_errors()
        if _Outcome.FAILED in outcomes:
            self._stopping.wait(RECONNECT_PAUSE_S)
        return bool(found.moved) or _Outcome.AGAIN in outcomes

    def _report_errors(self) -> None:
        """Report the errors of all read models together: progress of one is no news about a failure of another."""
        if self._errors:
            self.report_failure("; ".join(self._errors.values()))
        else:
            self.report("running")

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


class Helper(_Stepper):
    """Takes steps from call() to dismiss(), and after it until nothing is left for it.

    So it also takes what is appended while a step of the projector waits for a lock. A projector whose helper fails
    goes on alone.
    """

    def __init__(self, url: Url, *, schema: str = "ledger") -> None:
        super().__init__("projector helper", url, schema=schema)
        self._called = threading.Event()
        self._needed = False
        self._busy = False

    @property
    def at_work(self) -> bool:
        """True from a call on until the work is done; False while it cannot work."""
        return (self._busy or self._called.is_set()) and self.status.state == "running"

    def call(self) -> None:
        """Let it begin. Returns at once."""
        self._needed = True
        self._called.set()

    def dismiss(self) -> None:
        """Let it end as soon as it finds nothing to do. Returns at once."""
        self._needed = False

    def interrupt(self) -> None:
        """Wake the thread, so that it ends."""
        self._called.set()

    def follow(self, conn: Connection) -> None:
        """Wait for calls, and work."""
        self.report("running")
        while not self._stopping.is_set():
            self._called.wait()
            try:
                self._busy = True
                # Before the work: a call that comes meanwhile is not lost.
                self._called.clear()
                self._work_off(conn)
            finally:
                self._busy = False

    def _work_off(self, conn: Connection) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            found = look(conn, registry.all_models())
            if self._steps(conn, found, found.touched[::-1]):
                pause_s = FIRST_PAUSE_S
            elif self._needed:
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, MOST_PAUSE_S)
            else:
                return


class Projector(_Stepper):
    """Follows the head until stop(). Calls `helper`, if there is one, while many events wait."""

    def __init__(self, url: Url, *, schema: str = "ledger", helper: Helper | None = None) -> None:
        super().__init__("projector", url, schema=schema)
        self._channel = schema
        self._helper = helper

    def follow(self, conn: Connection) -> None:
        """Apply new events to the read models, woken by NOTIFY."""
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            # First take the notifications that are here already. A later one ends the wait below, so none is lost.
            _drain(conn, timeout_s=0)
            found = look(conn, registry.all_models())
            if self._helper is not None and found.events >= HELP_EVENTS:
                self._helper.call()
            try:
                changed = self._steps(conn, found, found.touched)
            finally:
                if self._helper is not None:
                    self._helper.dismiss()
            # What the helper has in hand may be touched again when it ends.
            if not changed and not (self._helper is not None and self._helper.at_work):
                pause_s = FIRST_PAUSE_S
                self._wait(conn)
            elif not changed or not found.more:
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, MOST_PAUSE_S)

    def _wait(self, conn: Connection) -> None:
        """Wait for a notification, for IDLE_S at most, or for stop()."""
        left_s = IDLE_S
        while left_s > 0 and not self._stopping.is_set():
            if _drain(conn, timeout_s=min(left_s, STOP_S), most=1):
                return
            left_s -= STOP_S


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
