"""Refuse every method that could record something: for a server that only reads, as on a standby. Pure ASGI."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import problem

METHODS = ("GET", "HEAD", "OPTIONS")


class ReadOnly:
    """ASGI middleware. Answers 405 `read-only` to all other methods, whatever the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it only reads."""
        if scope["type"] != "http" or scope["method"] in METHODS:
            await self._app(scope, receive, send)
        else:
            detail = "this server only reads, and recorded nothing: send writes to a server on the primary"
            await problem("read-only", detail, headers={"Allow": ", ".join(METHODS)})(scope, receive, send)


def install(app: FastAPI) -> None:
    """Add the middleware around the routes of `app`."""
    app.add_middleware(ReadOnly)
