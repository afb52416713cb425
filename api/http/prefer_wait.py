"""Implement `Prefer: wait` (RFC 7240) on writes: delay the response until a checkpoint covers the recorded event.

One middleware around all routes waits for the response's own `Ledger-Position`, so no route has to know of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ledger.tlog.serve.coverage import Coverage

DEFAULT_S = 10
MAX_S = 60

# Matches text without white space around it. Any caller may send any header, so no two parts of the pattern match the
# same blanks: matching takes linear time.
PREFERENCE = re.compile(r'wait(?:\s*=\s*(?:([0-9]{1,9})|"([0-9]{1,9})"))?(?:\s*;.*)?', re.ASCII | re.IGNORECASE)


class PreferWait:
    """ASGI middleware. Holds back the start of a response if the caller prefers to wait and an event was recorded.

    `coverage` is called for each such response, as the application has none before it starts.
    """

    def __init__(self, app: ASGIApp, coverage: Callable[[], Coverage]) -> None:
        self._app = app
        self._coverage = coverage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; send its response at once, or when a checkpoint covers it."""
        within_s = preferred(scope) if scope["type"] == "http" and scope["method"] == "POST" else None
        if not within_s:
            await self._app(scope, receive, send)
            return

        async def send_when_covered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                position = headers.get("ledger-position")
                if position is not None:
                    size = await self._coverage().wait(int(position), within_s)
                    if size is not None:
                        headers["Preference-Applied"] = "wait"
                        headers["Ledger-Checkpoint-Size"] = str(size)
            await send(message)

        await self._app(scope, receive, send_when_covered)


def preferred(scope: Scope) -> int | None:
    """Return the number of seconds that the caller would wait; None without a valid preference."""
    for line in Headers(scope=scope).getlist("prefer"):
        for preference in line.split(","):
            match = PREFERENCE.fullmatch(preference.strip())
            if match is not None:
                seconds = match[1] or match[2]
                return min(int(seconds), MAX_S) if seconds else DEFAULT_S
    return None


def install(app: FastAPI, coverage: Callable[[], Coverage]) -> None:
    """Add the middleware around the routes of `app`."""
    app.add_middleware(PreferWait, coverage=coverage)
