"""`Prefer: wait` (RFC 7240) on writes: the answer comes once a checkpoint covers what was recorded.

One layer around all routes, so that no route has to know of it: what is waited for is the response's own
`Ledger-Position`. However many wait, one of them asks the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import re

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.errors import Unavailable
from ledger.store.readers import Readers
from ledger.tlog.serve.tiles import covered

DEFAULT_S = 10
MOST_S = 60
POLL_S = 0.02
# While the database does not answer.
RETRY_S = 0.5

# On text without white space around it. Whoever calls may send any header: no two parts of it match the same blanks.
PREFERENCE = re.compile(r'wait(?:\s*=\s*(?:([0-9]{1,9})|"([0-9]{1,9})"))?(?:\s*;.*)?', re.ASCII | re.IGNORECASE)


class Coverage:
    """Tells callers when a checkpoint covers a position."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._waiting: dict[asyncio.Future[int], int] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, position: int, within_s: float) -> int | None:
        """The size of a checkpoint that covers the position; None when there is none in time."""
        asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[asked] = position
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="coverage")
        try:
            return await asyncio.wait_for(asked, within_s)
        except TimeoutError:
            return None
        finally:
            self._waiting.pop(asked, None)

    async def close(self) -> None:
        """Ends the looking; who waits gets no size."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self) -> None:
        while self._waiting:
            try:
                size = await self._readers.run(covered)
            except Unavailable:
                await asyncio.sleep(RETRY_S)
                continue
            for asked, position in list(self._waiting.items()):
                if position <= size and not asked.done():
                    asked.set_result(size)
            await asyncio.sleep(POLL_S)


class Waiting:
    """ASGI middleware. Holds back the start of a response that prefers to wait and says where it was recorded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything through, some of it later."""
        within_s = preferred(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if not within_s:
            await self._app(scope, receive, send)
            return

        async def held_back(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                position = headers.get("ledger-position")
                if position is not None:
                    coverage: Coverage = scope["app"].state.coverage
                    size = await coverage.wait(int(position), within_s)
                    if size is not None:
                        headers["Preference-Applied"] = "wait"
                        headers["Ledger-Checkpoint-Size"] = str(size)
            await send(message)

        await self._app(scope, receive, held_back)


def preferred(scope: Scope) -> int | None:
    """For how many seconds the caller would wait; None where it did not say so, or not in a way that we know."""
    for line in Headers(scope=scope).getlist("prefer"):
        for preference in line.split(","):
            found = PREFERENCE.fullmatch(preference.strip())
            if found is not None:
                seconds = found[1] or found[2]
                return min(int(seconds), MOST_S) if seconds else DEFAULT_S
    return None


def install(app: FastAPI) -> None:
    """Puts the layer around the routes."""
    app.add_middleware(Waiting)
