"""Bound the share of the event loop that work for many callers takes, so that requests of others are answered.

The work is cut into pieces, and each waits for its turn. What a piece took is measured as processor time of the thread:
a busy machine makes the clock run on, but not this. After some pieces all others rest, for so long that they take at
most the share. So work that is too much takes longer, and takes nothing from others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from time import monotonic, thread_time
from typing import Any, TypeVar

T = TypeVar("T")

# The share of the time of the loop.
SHARE = 0.1
# The work between two rests. Requests of others are answered between any two pieces.
UNTIL_REST_S = 0.002


class Pace:
    """Turns for pieces of work in one event loop."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._turns: deque[Callable[[], None]] = deque()
        self._task: asyncio.Task[None] | None = None
        # The processor time that may be used now; negative if too much was used.
        self._left_s = UNTIL_REST_S
        self._counted_at_s = monotonic()
        # The processor time of all measured work.
        self.used_s = 0.0

    async def close(self) -> None:
        """Give no more turns."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def later(self, call: Callable[[], None], *, first: bool = False) -> None:
        """Call this when it is its turn: after the calls that wait, or before them."""
        (self._turns.appendleft if first else self._turns.append)(call)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._give_turns(), name="pace")

    async def turn(self, *, first: bool = False) -> None:
        """Return when it is the caller's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.later(partial(resolve, turn), first=first)
        await turn

    async def measured(self, work: Coroutine[Any, Any, T]) -> T:
        """Await the work, and count its processor time. It must not await other measured work as a coroutine."""
        return await _Steps(work, self._use)

    def _use(self, seconds: float) -> None:
        self.used_s += seconds
        self._left_s -= seconds

    async def _give_turns(self) -> None:
        while self._turns:
            rest_s = self._rest_s()
            if rest_s:
                await asyncio.sleep(rest_s)
            else:
                self._turns.popleft()()
                await asyncio.sleep(0)  # it works now, and so do others

    def _rest_s(self) -> float:
        """Return for how long to rest now."""
        now_s = monotonic()
        self._left_s = min(UNTIL_REST_S, self._left_s + (now_s - self._counted_at_s) * self._share)
        self._counted_at_s = now_s
        return 0.0 if self._left_s > 0 else (UNTIL_REST_S - self._left_s) / self._share


def resolve(future: asyncio.Future[None]) -> None:
    """Set the result, unless who waits for it has gone."""
    if not future.done():
        future.set_result(None)


class _Steps(Awaitable[T]):
    """A coroutine, step by step: from one wait to the next."""

    def __init__(self, work: Coroutine[Any, Any, T], use: Callable[[float], None]) -> None:
        self._work = work
        self._use = use

    def __await__(self) -> Generator[Any, Any, T]:
        work, error = self._work, None
        while True:
            began_s = thread_time()
            try:
                waits_for = work.send(None) if error is None else work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._use(thread_time() - began_s)
            try:
                yield waits_for
                error = None
            except GeneratorExit:
                work.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - such as a cancellation: for the work to handle
                error = thrown
