"""Tell followers of the events how far they can read. One task of the process looks, however many follow.

Positions have no gaps and are given out under one lock, so all events up to a committed position are there, for good.
A follower reads pages up to that position, at its own speed: nothing is buffered for it, and no writer waits for it.
Followers with the same filters at the same position share one read, and the text that was made of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator
from functools import partial
from typing import Any, TypeVar

from ledger.database import AsyncConnection
from ledger.errors import LedgerError, Refused, Unavailable
from ledger.store.readers import Readers
from projections.event_search import indexed_upto

T = TypeVar("T")

log = logging.getLogger(__name__)

# Streams at once: of one caller, and of all.
MOST_OF_ONE = 20
MOST_OF_ALL = 1000
# Reads of followers at once, which is also the number of their connections.
READS_AT_ONCE = 2
# The pause between two looks, and what each follower adds to it: a thousand are woken twice a second.
LOOK_S = 0.05
LOOK_FOR_EACH_S = 0.0005
MOST_SHARED = 1024


class Follower:
    """One open stream."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._woken = asyncio.Event()
        # True once the server stops.
        self.stops = False

    def wake(self) -> None:
        """End the wait."""
        self._woken.set()

    def stop(self) -> None:
        """Tell that the server stops."""
        self.stops = True
        self.wake()

    async def wait(self, after: int, within_s: float) -> bool:
        """Wait for events after a position; return False after `within_s` seconds without, or if the server stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self.stops and self._feed.position <= after:
                    self._woken.clear()
                    await self._woken.wait()
        return self._feed.position > after


class EventFeed:
    """The followers of this process."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        # All events up to here can be found.
        self.position = 0
        self._followers: set[Follower] = set()
        self._callers: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._reading = asyncio.Semaphore(READS_AT_ONCE)
        self._shared: OrderedDict[Hashable, asyncio.Task[Any]] = OrderedDict()

    @property
    def followers(self) -> int:
        """The number of open streams."""
        return len(self._followers)

    async def close(self) -> None:
        """Stop to look."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @contextlib.contextmanager
    def follow(self, caller: str, most: int = MOST_OF_ALL) -> Iterator[Follower]:
        """Count a stream while the block runs. Raises Refused or Unavailable if there are too many."""
        if self._callers[caller] >= MOST_OF_ONE:
            raise Refused("too-many-streams", f"{MOST_OF_ONE} streams of this subject are open already: close one")
        if len(self._followers) >= min(most, MOST_OF_ALL):
            raise Unavailable("as many streams as this server takes are open already: try again, or read GET /events")
        follower = Follower(self)
        self._followers.add(follower)
        self._callers[caller] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_on(), name="event-feed")
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            self._callers[caller] -= 1
            self._callers += Counter()  # drops callers without a stream

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of `work` on a connection of the followers. Raises as Readers.run() does."""
        async with self._reading:
            return await self._readers.run(work)

    async def shared(
        self, key: Hashable, work: Callable[[AsyncConnection], Awaitable[T]], keep: Callable[[T], bool]
    ) -> T:
        """Return the result of `work`, of one call for all that ask for the same `key`.

        A result that `keep` refuses is forgotten at once, and is shared only with those who waited for it.
        """
        task: asyncio.Task[T] | None = self._shared.get(key)
        if task is None:
            task = self._shared[key] = asyncio.create_task(self.read(work), name="followers-read")
            task.add_done_callback(partial(self._done, key, keep))
            if len(self._shared) > MOST_SHARED:
                self._shared.popitem(last=False)
        # A follower that goes away does not end the read of the others.
        return await asyncio.shield(task)

    def _done(self, key: Hashable, keep: Callable[[T], bool], task: asyncio.Task[T]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if (failed or not keep(task.result())) and self._shared.get(key) is task:
            del self._shared[key]

    async def _look_on(self) -> None:
        """Look for new events while somebody follows."""
        while self._followers:
            try:
                self._moved(await self._readers.run_short(indexed_upto))
            except LedgerError:
                # Rights cannot be looked at either then: each stream ends, and says why.
                pass
            except Exception:
                log.exception("the feed of events failed, and goes on")
            await asyncio.sleep(LOOK_S + LOOK_FOR_EACH_S * len(self._followers))
        self._shared.clear()

    def _moved(self, position: int) -> None:
        if position > self.position:
            self.position = position
            for follower in self._followers:
                follower.wake()
