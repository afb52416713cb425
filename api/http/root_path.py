"""Tell the application the path under which a proxy serves it, and put it before each `Location`. Pure ASGI."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class UnderPath:
    """ASGI middleware. Routes use their own paths; callers need the proxy's.

    The path may still be in the request or not: Starlette's routes remove it, and the OpenAPI document names it.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_prefixed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("location", "").startswith("/"):
                    headers["Location"] = self._root_path + headers["location"]
            await send(message)

        # Change the scope itself, not a copy: outer layers need what the routes put there.
        scope["root_path"] = self._root_path
        await self._app(scope, receive, send_prefixed)


def install(app: FastAPI, root_path: str) -> None:
    """Add the middleware around the routes of `app`, if a proxy serves them under a path."""
    if root_path:
        app.add_middleware(UnderPath, root_path=root_path)
