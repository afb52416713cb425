"""Reads by key that share a query: what is asked for while a query is in flight goes into the next, as appends do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """Reads of one kind. `read` takes different keys, about `most` of them, and returns a value for each, in order."""

    def __init__(self, read: Callable[[list[K]], Awaitable[Sequence[V]]], most: int) -> None:
        self._read = read
        self._most = most
        self._queue: deque[tuple[Sequence[K], asyncio.Future[list[V]]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def get(self, keys: Sequence[K]) -> list[V]:
        """Return the values of these keys, read after this call began. Raises what `read` raises."""
        result: asyncio.Future[list[V]] = asyncio.get_running_loop().create_future()
        self._queue.append((keys, result))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._read_queue())
        return await result

    async def close(self) -> None:
        """Cancel the reads that are not answered yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for _, result in self._queue:
            result.cancel()

    async def _read_queue(self) -> None:
        while self._queue:
            group = []
            keys: dict[K, None] = {}
            while self._queue and len(keys) < self._most:
                group.append(self._queue.popleft())
                keys |= dict.fromkeys(group[-1][0])
            try:
                by_key = dict(zip(keys, await self._read(list(keys)), strict=True))
            except asyncio.CancelledError:  # by close(), or because what it waited for was cancelled
                for _, result in group:
                    result.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - those who wait would wait for ever
                for _, result in group:
                    if not result.done():
                        result.set_exception(error)
                continue
            for wanted, result in group:
                if not result.done():  # a caller may have been cancelled
                    result.set_result([by_key[key] for key in wanted])
