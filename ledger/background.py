"""Supervised background threads. Each does one thing again and again until it is stopped.

No failure ends a worker silently. It is logged once, even if it repeats, and is shown in `status` until the work
succeeds again. An unexpected error is reported by its type and its place in the code, not by its text, which
may hold personal values.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Literal, NamedTuple

import psycopg

from ledger.database import Connection, connect, one_line

RETRY_S = 0.25
# The pause after an unexpected error, which is unlikely to disappear by itself.
UNFORESEEN_RETRY_S = 5.0
STOP_S = 10.0

# "none" stands for a worker that this process does not run. Where two workers must not work at the same time, one of
# them leads among the processes of a ledger, and the others follow.
WorkerState = Literal["none", "starting", "running", "leads", "follows", "failing", "refused", "stopped"]


def log_to_stderr() -> None:
    """Send the log of a long-running program to stderr, because stdout is for text that people paste."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s: %(name)s: %(message)s")
    # psycopg warns of an error while another one ends a pipeline, with the text of the database, which may have
    # values.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger("psycopg.pool").setLevel(logging.INFO)


@dataclass(frozen=True)
class WorkerStatus:
    """The state of a worker.

    `error` is the reason while it is failing, or the reason for which it refused to continue.
    """

    state: WorkerState
    error: str | None = None


class Failure(NamedTuple):
    """The description of an error, in one line. The next try follows after `retry_s` seconds; None ends the worker."""

    message: str
    retry_s: float | None = RETRY_S


class BackgroundWorker(threading.Thread, ABC):
    """Call `work()` in a thread until `stop()`; call it again when it returned or failed."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.status = WorkerStatus("starting")
        self._stopping = threading.Event()
        # The logger of the module that defines the worker.
        self._log = logging.getLogger(type(self).__module__)

    @abstractmethod
    def work(self) -> None:
        """Work until `_stopping` is set. Call `report()` when something succeeded."""

    @abstractmethod
    def on_failure(self, error: Exception) -> Failure | None:
        """Clean up after an error of `work()`, and describe it. Return None for an unexpected error."""

    def on_unforeseen(self, error: Exception) -> Failure:
        """Clean up after an unexpected error, and describe it."""
        return Failure(f"program error: {place_of(error)}", UNFORESEEN_RETRY_S)

    def interrupt(self) -> None:
        """Wake the thread from any wait except the one for `_stopping`.

        Called from other threads, when the worker stops.
        """

    def report(self, state: WorkerState) -> None:
        """Set the state after something succeeded. The last failure is over."""
        if self.status.state == "failing":
            self._log.info("%s: works again", self.name)
        if (self.status.state, self.status.error) != (state, None):
            self.status = replace(self.status, state=state, error=None)

    def report_failure(self, message: str, trace: str = "") -> None:
        """Set a failure as status. Log it, unless it is the same as before, apart from numbers such as seconds."""
        before = self.status
        if before.state != "failing" or _without_numbers(before.error) != _without_numbers(message):
            self._log.warning("%s: %s; trying again until it works%s", self.name, message, trace)
        self.status = replace(before, state="failing", error=message)

    def request_stop(self) -> None:
        """Tell the worker to end. Returns at once."""
        self._stopping.set()
        self.interrupt()

    def stop(self, within_s: float = STOP_S) -> None:
        """Tell the worker to end after the current step, and wait for that, but no longer than `within_s`."""
        self.request_stop()
        if self.is_alive():
            self.join(timeout=within_s)

    def run(self) -> None:
        """Work, and try again after failures."""
        while not self._stopping.is_set():
            try:
                self.work()
            except Exception as error:  # noqa: BLE001 - a thread that died unseen would be taken for one that works
                retry_s = self._fail(error)
                if retry_s is None:
                    return
                self._stopping.wait(retry_s)
        self.report("stopped")

    def _fail(self, error: Exception) -> float | None:
        failure, trace = self.on_failure(error), ""
        if failure is None:
            failure = self.on_unforeseen(error)
            trace = _frames(error)
        if failure.retry_s is None:
            self._log.error("%s: %s; it has ended%s", self.name, failure.message, trace)
            self.status = replace(self.status, state="refused", error=failure.message)
        elif not self._stopping.is_set():
            self.report_failure(failure.message, trace)
        return failure.retry_s


def stop_all(workers: Sequence[BackgroundWorker], within_s: float = STOP_S) -> None:
    """Tell all workers to end after the current step, then wait for all of them, together no longer than `within_s`.

    A worker that still waits then, for a database that hangs, is abandoned: each step of a worker survives a crash.
    """
    deadline_s = monotonic() + within_s
    for worker in workers:
        worker.request_stop()
    for worker in workers:
        if worker.is_alive():
            worker.join(timeout=max(deadline_s - monotonic(), 0))


@contextlib.contextmanager
def running(worker: BackgroundWorker, stop_s: float) -> Iterator[None]:
    """Run a worker while the block runs, and at its end wait for it as stop() does."""
    worker.start()
    try:
        yield
    finally:
        worker.stop(stop_s)


class DatabaseWorker(BackgroundWorker):
    """A worker with a database connection of its own. When the connection is lost, it connects again."""

    def __init__(self, name: str, conninfo: str) -> None:
        super().__init__(name)
        self._conninfo = conninfo

    @abstractmethod
    def follow(self, conn: Connection) -> None:
        """Work on this connection until `_stopping` is set."""

    def work(self) -> None:
        """Connect, then follow."""
        with connect(self._conninfo) as conn:
            self.follow(conn)

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe errors of the database."""
        if isinstance(error, psycopg.Error):
            return Failure(f"the database failed: {one_line(error)}")
        return None


def _without_numbers(message: str | None) -> str | None:
    return message and re.sub(r"[0-9][0-9.:]*", "0", message)


def _frames(error: Exception) -> str:
    """Format the place where an error was raised, one call a line, without its text and without source lines."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)


def place_of(error: Exception) -> str:
    """Return the type of an error and where it was raised, without its text, which may hold values of rows."""
    if isinstance(error, psycopg.Error):
        return one_line(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {frame.name}, line {frame.lineno} of {frame.filename.rpartition('/')[2]}"
