"""Limit the size of request bodies. Pure ASGI, as it is in the path of every write."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import ApiError, problem

# Two sealed fields of 8 MiB, escaped, with room for the rest. Compressed exports may unpack to the same size.
MAX_REQUEST_BYTES = 20 * 1024 * 1024


class BodyLimit:
    """ASGI middleware. Refuses a body over `max_bytes` with 413, whether its length was announced or not."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless its body is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = _announced_length(scope)
        if length is None:
            await self._app(scope, self._limited(receive), send)
        elif length > self._max_bytes:
            await problem("too-large", self._message())(scope, receive, send)
        else:
            # The server holds a caller to the announced length, so the bytes need not be counted.
            await self._app(scope, receive, send)

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
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
