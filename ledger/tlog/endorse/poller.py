"""A thread for one outside party, so that whoever is slow or gone delays nobody else, the signer least of all."""

from __future__ import annotations

import logging
import random
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass

import psycopg

from ledger.proof.tlog.merkle import LogError
from ledger.tlog.endorse.http import EndorserError

log = logging.getLogger(__name__)

STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait: for an answer, and after failures in a row, doubling from first to most."""

    timeout_s: float = 10.0
    first_s: float = 1.0
    most_s: float = 60.0

    def after(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: between half of it and all, so that not all come at once."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret about it


class Poller(ABC):
    """Runs `round` again and again. What fails is tried again later, and said once."""

    def __init__(self, name: str, pace: RetryPolicy) -> None:
        self.name = name
        # Of the newest checkpoint that it was done for, as far as known.
        self.size = 0
        # Why the last round failed; None if it did not.
        self.error: str | None = None
        # Set after the first round that failed, or left nothing to do at once.
        self.settled = threading.Event()
        self._pace = pace
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ask {name}", daemon=True)

    @abstractmethod
    def round(self) -> float | None:
        """Does what there is to do. Returns the seconds until there is more, None where only `wake` brings more."""

    @abstractmethod
    def cut(self) -> None:
        """Ends the request in hand, from another thread."""

    def start(self) -> None:
        """Begins; once."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new. Returns at once; a wait after a failure is not cut short."""
        self._wake.set()

    def end(self) -> None:
        """Gives up what is in hand, and begins nothing more. Returns at once."""
        self._stop.set()
        self._wake.set()
        self.cut()

    def join(self) -> None:
        """Waits for the end, no longer than STOP_S."""
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            try:
                wait = self.round()
            except (EndorserError, LogError) as error:
                failures += 1
                self._failed(str(error), failures)
            except psycopg.Error as error:
                failures += 1
                self._failed(f"the database failed: {error.diag.message_primary or type(error).__name__}", failures)
            else:
                if failures:
                    log.info("%s: answers again", self.name)
                failures, self.error = 0, None
                if wait != 0:
                    self.settled.set()
                self._wake.wait(wait)

    def _failed(self, reason: str, failures: int) -> None:
        if self._stop.is_set():
            return
        if reason != self.error:
            log.warning("%s: %s", self.name, reason)
        self.error = reason
        self.settled.set()
        self._stop.wait(self._pace.after(failures))
