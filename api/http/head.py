"""Answer HEAD on each route that has GET: the same status and headers, without a body. Pure ASGI."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The key in a request's scope by which a streaming answer knows that nobody reads it.
HEAD_KEY = "advice_ledger.head"


class HeadAsGet:
    """Answer HEAD: call the GET route and drop the body. ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET", HEAD_KEY: True}, receive, send_head)


def install(app: FastAPI) -> None:
    """Add the middleware around the routes of `app`."""
    app.add_middleware(HeadAsGet)
