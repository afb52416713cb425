"""Run the checks of tables other than the chain, such as read models, in small pieces and with a bounded share of one
core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from ledger.database import Connection
from ledger.proof.findings import Finding

# The share of the time in which a check runs. The rest of the time it pauses.
SHARE = 0.1

# A check yields None after each piece, or a finding if something does not hold. After a finding, the run ends.
Check = Callable[[Connection], Iterator[Finding | None]]


class ChecksBeside:
    """Run checks one after the other, again and again.

    `finding` is the finding of the last run; None if all checks held.
    """

    def __init__(self, checks: Sequence[Check], rest_s: float) -> None:
        self.finding: Finding | None = None
        self._checks = checks
        self._rest_s = rest_s
        self._running: Iterator[Finding | None] | None = None
        self._due_s = 0.0

    def drop(self) -> None:
        """Forget an unfinished run, because its connection may be lost.

        The finding stays until a run ends without one.
        """
        self._running = None

    def step(self, conn: Connection) -> bool:
        """Run the next piece if it is due; return whether `finding` has changed. Raises psycopg.Error."""
        started_s = monotonic()
        if not self._checks or started_s < self._due_s:
            return False
        if self._running is None:
            self._running = (piece for check in self._checks for piece in check(conn))
        before = self.finding
        for finding in self._running:
            if finding is None:
                self._due_s = monotonic() + (monotonic() - started_s) * (1 / SHARE - 1)
                return False
            self.finding = finding
            break
        else:
            self.finding = None
        self._running = None
        self._due_s = monotonic() + self._rest_s
        return self.finding != before
