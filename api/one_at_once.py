"""Run work that may be requested without a token. Requests that arrive while it runs share the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class OneAtOnce:
    """Run work by name. Any number of callers together take the connections and the time of one."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def run(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of `work`, or of an earlier run that is still in progress."""
        task: asyncio.Task[T] | None = self._running.get(name)
        if task is None or task.done():
            task = self._running[name] = asyncio.create_task(work(), name=name)
        # A caller that goes away does not end the work for the others.
        return await asyncio.shield(task)
