"""Tell followers of the events what is new for them. One task of the process looks, however many follow.

Positions have no gaps and are given out under one lock, so all events up to a committed position are there, for good.
A follower reads pages up to that position, at its own speed: nothing is buffered for it, and no writer waits for it.
Followers with the same filters at the same position share one tail: it reads on for all of them, and wakes them when
there is something to tell. Reading, waking and looking at rights take turns (api/pace.py), so that all followers
together take a tenth of the event loop at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeVar

from api.pace import Pace, resolve
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
# The pause between two looks for new events.
LOOK_S = 0.05
# The pause between two looks at the rights of those who wait, and what each caller adds to it.
RIGHTS_S = 0.5
RIGHTS_FOR_EACH_S = 0.002
# A stream is never silent for longer.
HEARTBEAT_S = 15.0
MOST_SHARED = 1024


class Follower:
    """One open stream.

    Streams with the same `key` share what `standing` returns: what they may do, and the position at which they end.
    """

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        # True once the server stops.
        self.stops = False
        # When something was sent last.
        self.sent_s = 0.0
        # After this position no event can match; infinite while that is not known.
        self.end = inf
        self.key: Hashable = None
        self.standing: Callable[[], Coroutine[Any, Any, object]] | None = None

    @property
    def is_silent(self) -> bool:
        """True if nothing was sent for so long that a heartbeat is due."""
        return monotonic() - self.sent_s >= HEARTBEAT_S

    def wake(self) -> None:
        """End the wait."""
        self._woken.set()

    def stop(self) -> None:
        """Tell that the server stops."""
        self.stops = True
        self.wake()

    async def wait(self, tail: Tail) -> None:
        """Wait until the tail has news, or something else is to be done for this stream."""
        if not (self.stops or tail.has_news):
            await self._woken.wait()
        self._woken.clear()


class Tail:
    """The end of what followers with the same filters have read: nothing matches up to `after`.

    Once it `has_news`, an event after that matches, or the read failed.
    """

    def __init__(self, after: int) -> None:
        self.after = after
        self.has_news = False
        self.followers: set[Follower] = set()
        self.task: asyncio.Task[None] | None = None


class EventFeed:
    """The followers of this process."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self.pace = Pace()
        # All events up to here can be found.
        self.position = 0
        self._followers: set[Follower] = set()
        self._callers: Counter[str] = Counter()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._reading = asyncio.Semaphore(READS_AT_ONCE)
        self._shared: OrderedDict[Hashable, asyncio.Task[Any]] = OrderedDict()
        self._recent: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()
        self._tails: dict[Hashable, Tail] = {}
        # Of the tails that have read all there is.
        self._waiting: dict[asyncio.Future[None], None] = {}
        # By key, what followers might do when that was looked at last.
        self._standings: dict[Hashable, object] = {}

    @property
    def followers(self) -> int:
        """The number of open streams."""
        return len(self._followers)

    @property
    def tails(self) -> int:
        """The number of reads that wait for new events."""
        return len(self._tails)

    async def close(self) -> None:
        """Stop to look."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        await self.pace.close()

    @contextlib.contextmanager
    def follow(self, caller: str, most: int = MOST_OF_ALL) -> Iterator[Follower]:
        """Count a stream while the block runs. Raises Refused or Unavailable if there are too many."""
        if self._callers[caller] >= MOST_OF_ONE:
            raise Refused("too-many-streams", f"{MOST_OF_ONE} streams of this subject are open already: close one")
        if len(self._followers) >= min(most, MOST_OF_ALL):
            raise Unavailable("as many streams as this server takes are open already: try again, or read GET /events")
        follower = Follower()
        self._followers.add(follower)
        self._callers[caller] += 1
        self._start("event-feed", self._look_on)
        self._start("event-feed-rights", self._look_after)
        try:
            yield follower
        finally:
            self._followers.discard(follower)
            self._callers[caller] -= 1
            self._callers += Counter()  # drops callers without a stream

    def _start(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(work(), name=name)

    async def read(self, work: Callable[[AsyncConnection], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `work` on a connection of the followers. Raises as Readers.run() does."""
        async with self._reading:
            await self.pace.turn()
            return await self._readers.run(lambda conn: self.pace.measured(work(conn)))

    async def shared(
        self, key: Hashable, work: Callable[[AsyncConnection], Coroutine[Any, Any, T]], keep: Callable[[T], bool]
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

    async def recent(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, T]], within_s: float) -> T:
        """Return the result of `work`, or that of a call for the same `key` which began within so many seconds."""
        began_s, task = self._recent.get(key, (0.0, None))
        if task is None or monotonic() - began_s > within_s:
            task = asyncio.create_task(self.pace.measured(work()), name="followers-recent")
            # Perhaps nobody is left to hear of a failure.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._recent[key] = monotonic(), task
            self._recent.move_to_end(key)
            if len(self._recent) > MOST_SHARED:
                self._recent.popitem(last=False)
        result: T = await asyncio.shield(task)
        return result

    @contextlib.contextmanager
    def tail(
        self, key: Hashable, after: int, follower: Follower, look: Callable[[int, int], Awaitable[tuple[bool, int]]]
    ) -> Iterator[Tail]:
        """Join the tail of all that name the same `key` and position, while the block runs.

        `look` reads between two positions; it returns whether there is news, and up to where there is none.
        """
        tail = self._tails.get((key, after))
        if tail is None:
            tail = self._tails[key, after] = Tail(after)
            tail.task = asyncio.create_task(self._read_on(tail, look), name="followers-tail")
            tail.task.add_done_callback(lambda _: self._forget(key, after, tail))
        tail.followers.add(follower)
        try:
            yield tail
        finally:
            tail.followers.discard(follower)
            if not tail.followers and tail.task is not None:
                # At once: whoever comes before the task has ended would wait for a read that nobody does.
                self._forget(key, after, tail)
                tail.task.cancel()

    def _forget(self, key: Hashable, after: int, tail: Tail) -> None:
        if self._tails.get((key, after)) is tail:
            del self._tails[key, after]

    async def _read_on(self, tail: Tail, look: Callable[[int, int], Awaitable[tuple[bool, int]]]) -> None:
        await self.pace.measured(self._read_to_news(tail, look))

    async def _read_to_news(self, tail: Tail, look: Callable[[int, int], Awaitable[tuple[bool, int]]]) -> None:
        """Read on until there is news. A failure is news as well: each follower finds out what it means for itself."""
        try:
            while True:
                while self.position <= tail.after:
                    moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting[moved] = None
                    try:
                        await moved
                    finally:
                        self._waiting.pop(moved, None)
                is_news, through = await look(tail.after, self.position)
                if is_news:
                    break
                tail.after = through
        except Exception:
            log.debug("the read of a tail failed", exc_info=True)
        tail.has_news = True
        for follower in tail.followers:
            self.pace.later(follower.wake)

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
            await asyncio.sleep(LOOK_S)
        self._shared.clear()
        self._recent.clear()

    def _moved(self, position: int) -> None:
        if position > self.position:
            self.position = position
            waiting, self._waiting = self._waiting, {}
            for moved in waiting:
                self.pace.later(partial(resolve, moved))

    async def _look_after(self) -> None:
        """Wake those who wait and have something else to do than to send events."""
        while self._followers:
            by_key: dict[Hashable, list[Follower]] = {}
            for follower in self._followers:
                if follower.standing is not None:
                    by_key.setdefault(follower.key, []).append(follower)
            self._standings = {key: self._standings[key] for key in by_key if key in self._standings}
            for key, followers in by_key.items():
                await self.pace.turn(first=True)
                changed = await self._has_changed(key, followers[0])
                for follower in followers:
                    if changed or follower.is_silent or follower.end <= self.position:
                        self.pace.later(follower.wake)
            await asyncio.sleep(RIGHTS_S + RIGHTS_FOR_EACH_S * len(by_key))

    async def _has_changed(self, key: Hashable, follower: Follower) -> bool:
        """Return True unless the streams with this key may do what they might at the last look, and end where."""
        assert follower.standing is not None
        try:
            standing = await self.recent(key, follower.standing, 0.0)
        except Exception:  # noqa: BLE001 - each of them finds out what it means
            self._standings.pop(key, None)
            return True
        changed = key not in self._standings or self._standings[key] != standing
        self._standings[key] = standing
        return changed
