"""Report the session that a connection waits for, and end the wait after a while.

A thread with a connection of its own reads the locks of the server. It connects only if the block takes long.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import psycopg

from api.postgres.connect import DatabaseError, connect
from ledger.database import Connection, Url
from ledger.store.blockers import Blocker

BLOCKERS = Path(__file__).with_name("blockers.sql").read_text("utf-8")
# The seconds after which a block is examined for the first time.
QUIET_S = 3.0
LOOK_S = 0.5
# The seconds of waiting for a lock after which the block is ended.
MOST_WAIT_S = 60.0


class Blocked(DatabaseError):
    """Another session held a lock for too long. The message says which session."""


@contextlib.contextmanager
def watched(url: Url, conn: Connection, note: Callable[[str], None], most_s: float = MOST_WAIT_S) -> Iterator[None]:
    """While the block runs, `note` the sessions that `conn` waits for.

    After `most_s`, cancel the statement and raise Blocked.
    """
    watch = _Watch(url, conn, note, most_s)
    watch.start()
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        if watch.gave_up is None:
            raise
        raise Blocked(
            f"gave up after {most_s:g} s: {watch.gave_up}. No migration was applied. Wait for the end of that session,"
            " or end it with SELECT pg_terminate_backend(PID), and try again"
        ) from error
    finally:
        watch.stop()


class _Watch(threading.Thread):
    def __init__(self, url: Url, conn: Connection, note: Callable[[str], None], most_s: float) -> None:
        super().__init__(name="blockers", daemon=True)
        self._url, self._conn, self._note, self._most_s = url, conn, note, most_s
        self._ended = threading.Event()
        self.gave_up: str | None = None

    def stop(self) -> None:
        """End the thread. It cancels nothing after that."""
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Examine the locks until stop(). If the server does not answer, the watched connection reports it."""
        if not self._ended.wait(QUIET_S):
            with contextlib.suppress(DatabaseError, psycopg.OperationalError), connect(self._url, None) as conn:
                self._look(conn)

    def _look(self, conn: Connection) -> None:
        since_s, told, unblocked = monotonic(), None, 0
        while True:
            rows = conn.execute(BLOCKERS, {"pid": self._conn.info.backend_pid}).fetchall()
            # A wait may consist of several waits with a moment between them.
            unblocked = 0 if rows else unblocked + 1
            if unblocked > 1:
                since_s, told = monotonic(), None
            elif rows:
                text = "; ".join(str(Blocker(*row)) for row in rows)
                if told != (holders := [row[0] for row in rows]):
                    told = holders
                    self._note(f"waiting, for at most {self._most_s:g} s: {text}")
                if monotonic() - since_s > self._most_s:
                    self.gave_up = text
            if self.gave_up is not None:  # repeatedly, because a statement may just have ended
                self._conn.cancel_safe()
            if self._ended.wait(LOOK_S):
                return
