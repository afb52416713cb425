"""Record once a day where all streams end: a background worker of the process that signs.

A record that exists before anybody asks for a bundle cannot be made to fit the bundle. Nothing waits for this worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from ledger.background import BackgroundWorker, Failure
from ledger.database import Connection, Url, connect, conninfo, one_line
from ledger.store.head import read_head
from ledger.store.recorder import Recorder
from ledger.tlog.heads.record import newest_heads, record_heads

# A process records nothing before it has run for this long. Otherwise a process that restarts often would scan the
# events at each start.
SETTLE_S = 300.0
# The pause between two checks for the end of the day.
LOOK_S = 60.0


class HeadsRecorder(BackgroundWorker):
    """Record until stop(). `url` is for a login that may act as the ledger's verifier and writer.

    It connects for each check, and holds no connection in between.
    """

    def __init__(
        self,
        url: Url,
        *,
        schema: str = "ledger",
        recorder: Recorder | None = None,
        settle_s: float = SETTLE_S,
        look_s: float = LOOK_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("stream heads")
        application = "advice-ledger stream heads"
        self._reading = conninfo(url, "verifier", schema=schema, application=application)
        self._writing = conninfo(url, "writer", schema=schema, application=application, lock_timeout="10s")
        self._recorder = recorder and recorder.another()
        self._settle_s = settle_s
        self._look_s = look_s
        self._clock = clock

    def work(self) -> None:
        """Check at intervals whether a record is due."""
        self._stopping.wait(self._settle_s)
        while not self._stopping.is_set():
            with connect(self._reading) as conn:
                self._record_if_due(conn)
            self.report("running")
            self._stopping.wait(self._look_s)

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe errors of the database. Another process may have recorded the same."""
        return Failure(f"the database failed: {one_line(error)}") if isinstance(error, psycopg.Error) else None

    def _record_if_due(self, conn: Connection) -> None:
        """Record once a day (UTC), if any other event was recorded since the last time."""
        head, last = read_head(conn), newest_heads(conn)
        if head is None or not head.position:
            return
        if last is not None:
            today = datetime.fromtimestamp(self._clock(), UTC).date()
            day = datetime.fromtimestamp(last.event.recorded_at_us / 1_000_000, UTC).date()
            if day >= today or last.event.position == head.position:
                return
        with connect(self._writing) as writer:
            record_heads(conn, writer, last, self._recorder)
