"""Run a background worker for one endorser, so that a slow or absent endorser delays neither the others nor the
signer."""

from __future__ import annotations

import random
import threading
from abc import abstractmethod
from dataclasses import dataclass

import psycopg

from ledger.background import BackgroundWorker, Failure
from ledger.database import one_line
from ledger.proof.errors import EvidenceError
from ledger.tlog.endorse.http import EndorserError, HttpClient


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The time limit for an answer, and the pauses after failures, which double from `first_s` to `most_s`."""

    timeout_s: float = 10.0
    first_s: float = 1.0
    most_s: float = 60.0

    def after(self, failures: int) -> float:
        """Return the pause after a number of failures in a row.

        It is shortened at random by up to half, so that pollers do not retry at once.
        """
        longest = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret about it


class Poller(BackgroundWorker):
    """Poll one endorser again and again. After failures it waits longer and longer, as `retry` says."""

    def __init__(self, endorser: str, http: HttpClient, retry: RetryPolicy) -> None:
        super().__init__(endorser)
        self.endorser = endorser
        # The size of the newest checkpoint that is endorsed, as far as known.
        self.size = 0
        # Set after the first poll that failed, or that left no more work.
        self.settled = threading.Event()
        self._http = http
        self._retry = retry
        self._failures = 0
        self._wake = threading.Event()

    @abstractmethod
    def poll(self) -> float | None:
        """Do the work that is due. Return the seconds until the next poll; None to wait for `wake()`."""

    def wake(self) -> None:
        """Tell the poller that there is a new checkpoint.

        Returns at once, and does not shorten a wait after a failure.
        """
        self._wake.set()

    def interrupt(self) -> None:
        """End a wait, and the current request."""
        self._wake.set()
        self._http.cancel()

    def run(self) -> None:
        """Work, then close the HTTP connection in the thread that used it."""
        try:
            super().run()
        finally:
            self._http.close()

    def work(self) -> None:
        """Poll until told to stop."""
        while not self._stopping.is_set():
            self._wake.clear()
            wait_s = self.poll()
            self._failures = 0
            self.report("running")
            if wait_s != 0:
                self.settled.set()
            self._wake.wait(wait_s)

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe errors of the endorser and of the database."""
        if isinstance(error, EndorserError | EvidenceError):
            return self._failure(str(error))
        if isinstance(error, psycopg.Error):
            return self._failure(f"the database failed: {one_line(error)}")
        return None

    def on_unforeseen(self, error: Exception) -> Failure:
        """Wait as after other failures."""
        return self._failure(super().on_unforeseen(error).message)

    def _failure(self, message: str) -> Failure:
        self._failures += 1
        self.settled.set()
        return Failure(message, self._retry.after(self._failures))
