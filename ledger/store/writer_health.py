"""Keep the outcomes of the writer's last appends: for `/readyz`, `status` and metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic

import psycopg

from ledger.database import one_line
from ledger.errors import LedgerError, LogRefused, Unavailable
from ledger.store.blockers import LOCKED, Blocker, locked_out, named
from ledger.store.events import StoreFailed

# If an append succeeded within this time, appends count as possible and no check is made.
FRESH_S = 1.0
# While appends succeed, a check writes to the disk at most once in this time, because each time leaves dead rows.
DEEP_S = 30.0
HANGS = "the database does not answer an append: its disk, a synchronous standby or the network hangs"
CAUSES = {
    LOCKED: "another session holds a lock that appends need",
    "53100": "the disk of the database is full",
    "25006": "the database takes no writes, as a standby does",
    "57014": HANGS,
    "42883": "check_append() is missing: run advice-ledger migrate",
}


@dataclass(frozen=True)
class WriterStatus:
    """`failing_s`: since when no append has succeeded although one was tried; 0 while they succeed.

    `cause`: why the last one failed. `ended`: why the writer has ended, and records nothing any more. `queued` counts
    the callers that wait, `oldest_s` is how long the first of them has waited. `refused`: the last append was refused
    because the database does not go on from what was signed last.
    """

    failing_s: float
    cause: str | None
    ended: str | None
    queued: int
    oldest_s: float
    refused: bool


class Histogram:
    """Counts of durations, by upper bounds in seconds."""

    BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

    def __init__(self) -> None:
        self._counts = [0] * (len(self.BOUNDS) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound with the number of durations up to it, as Prometheus expects."""
        total, found = 0, []
        for bound, count in zip((*map(str, self.BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class WriterHealth:
    """Keep the outcomes of appends for the writer.

    A refusal, such as a conflict, is neither a success nor a failure.
    """

    def __init__(self) -> None:
        self.ended: str | None = None
        # The time from a caller's append() to its receipt, in the queue and in the database.
        self.appends = Histogram()
        self._began_s = 0.0
        self._deep_s = -inf
        self._succeeded_s: float | None = None
        self._failing_since_s: float | None = None
        self._cause: str | None = None
        self._refused = False
        # True if the last append failed because another session holds a lock.
        self.is_locked = False

    @property
    def is_failing(self) -> bool:
        """True if the last append failed or hangs."""
        return self._failing_since_s is not None

    @property
    def is_fresh(self) -> bool:
        """True if an append succeeded within the last second, and none has failed since."""
        recent = self._succeeded_s is not None and monotonic() - self._succeeded_s < FRESH_S
        return recent and not self.is_failing

    def deep_is_due(self) -> bool:
        """Return True if the next check should write to the disk: always while appends fail."""
        if not self.is_failing and monotonic() - self._deep_s < DEEP_S:
            return False
        self._deep_s = monotonic()
        return True

    def began(self) -> None:
        """Note that an append was sent."""
        self._began_s = monotonic()

    def succeeded(self, *, check: bool) -> None:
        """Note that an append, or a check, was committed.

        Only a check ends a failure, as it writes to each table: other events may need one that cannot be written.
        """
        if self.is_failing and not check:
            return
        self._succeeded_s = monotonic()
        self._failing_since_s = self._cause = None
        self._refused = self.is_locked = False

    def failed(self, error: Exception, blockers: Sequence[Blocker] = ()) -> None:
        """Note why an append failed, and the sessions that blocked it."""
        if isinstance(error, LedgerError) and not isinstance(error, Unavailable | StoreFailed):
            return
        self._refused = isinstance(error, LogRefused)
        self.is_locked = locked_out(error)
        self._fails(named(_cause(error), blockers))

    def hangs(self) -> None:
        """Note that an append has had no answer for longer than the patience, unless the reason is known."""
        self._fails(self._cause or HANGS)

    def status(self, queued: int, oldest_since_s: float | None) -> WriterStatus:
        """Return the state now."""
        now_s = monotonic()
        failing_s = 0.0 if self._failing_since_s is None else now_s - self._failing_since_s
        oldest_s = 0.0 if oldest_since_s is None else now_s - oldest_since_s
        return WriterStatus(failing_s, self._cause, self.ended, queued, oldest_s, self._refused)

    def _fails(self, cause: str) -> None:
        if self._failing_since_s is None:
            self._failing_since_s = self._began_s
        self._cause = cause


def cause_of(error: psycopg.Error) -> str:
    """Describe why the database accepted no append, in this program's words if it knows the cause."""
    return CAUSES.get(error.sqlstate or "") or one_line(error)


def _cause(error: Exception) -> str:
    found = error.__cause__
    if isinstance(found, psycopg.Error):
        return cause_of(found)
    return str(error) if isinstance(error, LedgerError) else f"program error: {type(error).__name__}"
