"""End tasks that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


async def abandon(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks. A task that waits for a database that hangs needs two cancels to end."""
    for _ in range(2):
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=0.25)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # retrieve it: the loop and the requests log their own errors
