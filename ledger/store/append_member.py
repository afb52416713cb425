"""Represent one caller of the writer, in the queue or in the group that is being recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import monotonic

from ledger.store.envelope import Line
from ledger.store.events import Receipt


@dataclass(slots=True, eq=False)
class Member:
    """The events of one caller, recorded together or not at all.

    Without lines, it checks that an append can succeed.
    """

    lines: list[Line]
    done: asyncio.Future[list[Receipt]]
    since_s: float = field(default_factory=monotonic)

    @property
    def size(self) -> int:
        """Return the number of bytes of its events."""
        return sum(line.size for line in self.lines)

    @property
    def is_check(self) -> bool:
        """Return True if it has no events. A check is a group of its own, because an append is not a check."""
        return not self.lines

    def deliver(self, receipts: list[Receipt]) -> None:
        """Give the caller its receipts."""
        if not self.done.done():  # a caller may have been cancelled; its events are recorded nevertheless
            self.done.set_result(receipts)

    def fail(self, error: Exception) -> None:
        """Give the caller the error."""
        if not self.done.done():
            self.done.set_exception(error)
