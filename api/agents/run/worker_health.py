"""Keep the outcome of the worker's last round: for `/readyz` and metrics."""

from __future__ import annotations

import asyncio
import logging

import psycopg

from ledger.background import WorkerStatus, place_of
from ledger.database import one_line
from ledger.errors import Unavailable

log = logging.getLogger(__name__)


class WorkerHealth:
    """The health of a worker, which updates it. `status.error` is set while it fails, and after it ended by itself."""

    def __init__(self) -> None:
        self.status = WorkerStatus("starting")

    def works(self) -> None:
        """Note that a round succeeded."""
        if self.status.state == "failing":
            log.info("worker: works again")
        if self.status.state != "running":
            self.status = WorkerStatus("running")

    def failed(self, error: Exception) -> None:
        """Note why a round failed. Log the reason once, not four times a second."""
        failing = WorkerStatus("failing", _cause(error))
        if self.status != failing:
            log.warning("worker: %s; trying again until it works", failing.error)
        self.status = failing

    def ended(self, task: asyncio.Task[None]) -> None:
        """Note that the worker's task ended though nobody stopped it."""
        error = None if task.cancelled() else task.exception()
        cause = "it was cancelled" if error is None else type(error).__name__
        self.status = WorkerStatus("stopped", cause)
        log.critical("the worker of this process has ended: restart the server (%s)", cause)


def _cause(error: Exception) -> str:
    if isinstance(error, psycopg.Error):
        return f"the database failed: {one_line(error)}"
    return str(error) if isinstance(error, Unavailable) else f"program error: {place_of(error)}"
