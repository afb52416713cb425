"""Checks of what is beside the chain, piece by piece, with a bounded share of the time of one core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from ledger.database import Connection
from ledger.proof.findings import Finding

# A check runs at most this part of the time; then it rests.
SHARE = 0.1

# Yields None after each piece, and a finding if something does not hold; then it is not asked again.
Check = Callable[[Connection], Iterator[Finding | None]]


class ChecksBeside:
    """Run checks one after the other, again and again. `finding` is that of the last run, None while all hold."""

    def __init__(self, checks: Sequence[Check], rest_s: float) -> None:
        self.finding: Finding | None = None
        self._checks = checks
        self._rest_s = rest_s
        self._running: Iterator[Finding | None] | None = None
        self._due_s = 0.0

    def drop(self) -> None:
        """Forget an unfinished run: its connection may be lost. The finding stays until a run ends without one."""
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
