"""Limit the size of request bodies and the time to send them. Pure ASGI, as it is in the path of every write."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.connections import STATE_KEY, Connection
from api.http.problems import ApiError, problem

# Two sealed fields of 8 MiB, escaped, with room for the rest. Compressed exports may unpack to the same size.
MAX_REQUEST_BYTES = 20 * 1024 * 1024
# The time from the end of the head to the end of the body. 20 MiB in this time are 2.8 Mbit/s.
BODY_S = 60.0


class BodyLimit:
    """ASGI middleware. Refuses a body over `max_bytes` with 413, and one that takes longer than BODY_S with 408."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless its body is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (_announced_length(scope) or 0) > self._max_bytes:
            await problem("too-large", self._message())(scope, receive, send)
        else:
            await self._app(scope, self._limited(scope, receive), send)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        received = 0
        complete = False
        connection: Connection | None = scope.get("state", {}).get(STATE_KEY)
        deadline = asyncio.get_running_loop().time() + BODY_S

        async def limited() -> Message:
            nonlocal received, complete
            if complete:  # any further message means only that the caller went away
                return await receive()
            try:
                if connection is not None and connection.is_whole:  # most bodies come with their head
                    message = await receive()
                else:
                    async with asyncio.timeout_at(deadline):
                        message = await receive()
            except TimeoutError:
                raise ApiError(
                    "too-slow", f"the body did not come within {BODY_S:g} s", headers={"Connection": "close"}
                ) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > self._max_bytes:
                raise ApiError("too-large", self._message())
            return message

        return limited

    def _message(self) -> str:
        return f"the body is over {self._max_bytes} bytes"


def _announced_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None


def install(app: FastAPI, *, max_bytes: int = MAX_REQUEST_BYTES) -> None:
    """Limit the bodies of all requests to `app`."""
    app.add_middleware(BodyLimit, max_bytes=max_bytes)
