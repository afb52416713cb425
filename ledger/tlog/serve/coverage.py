"""Wait until a checkpoint covers a position. One task polls the database for all callers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from ledger.database import AsyncConnection
from ledger.errors import Unavailable
from ledger.store.readers import Readers

POLL_S = 0.02
# The pause between two tries while the database does not answer.
RETRY_S = 0.5


class Coverage:
    """Tell callers when a checkpoint covers a position. For one event loop."""

    def __init__(self, readers: Readers, covered: Callable[[AsyncConnection], Awaitable[int]]) -> None:
        self._readers = readers
        self._covered = covered
        self._waiting: dict[asyncio.Future[int], int] = {}
        self._polling: asyncio.Task[None] | None = None

    async def wait(self, position: int, within_s: float) -> int | None:
        """Return the size of a checkpoint that covers the position, or None if there is none within `within_s`."""
        size: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[size] = position
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name="coverage")
        try:
            return await asyncio.wait_for(size, within_s)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(size, None)

    async def close(self) -> None:
        """Stop polling. Callers that still wait get None after their own time limit."""
        if self._polling is not None:
            self._polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._polling

    async def _poll(self) -> None:
        while self._waiting:
            try:
                covered_size = await self._readers.run(self._covered)
            except Unavailable:
                await asyncio.sleep(RETRY_S)
                continue
            for size, position in list(self._waiting.items()):
                if position <= covered_size and not size.done():
                    size.set_result(covered_size)
            await asyncio.sleep(POLL_S)
