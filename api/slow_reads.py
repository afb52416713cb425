"""Read lists of all clients as of an earlier state. They fold the chain anew, so they get connections of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ledger.database import AsyncConnection
from ledger.errors import Refused, Unavailable
from ledger.store.readers import Readers

T = TypeVar("T")

# The number of reads at once: of one caller, and of all, which is also the number of connections.
MOST_OF_ONE = 2
MOST_OF_ALL = 4


class SlowReads:
    """Run reads that may take seconds. More than a few at once are refused, and none delays another kind of request."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._running: Counter[str] = Counter()

    async def run(self, caller: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of `work`. Raises Refused or Unavailable if too many of them run."""
        if self._running[caller] >= MOST_OF_ONE:
            raise Refused(
                "too-many-reads",
                f"{MOST_OF_ONE} lists with as_of run for this token already: wait for one, or read one client at once",
            )
        if self._running.total() >= MOST_OF_ALL:
            raise Unavailable("too many lists with as_of run already: try again, or read one client at once")
        self._running[caller] += 1
        try:
            return await self._readers.run(work)
        finally:
            self._running[caller] -= 1
            self._running += Counter()  # drops callers without a read
