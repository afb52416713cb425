"""Compress answers with gzip, where that tells nobody anything. Pure ASGI.

The length of a compressed answer says what repeats in it: who can make somebody else's browser ask, and sees how long
the answers are, can guess what they hold (the attack is known as BREACH). A browser sends a cookie by itself, but no
header Authorization. So only answers to callers with that header are compressed: nobody else can make them ask.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Shorter answers fit into a packet as they are.
MIN_BYTES = 1024
# The quickest.
LEVEL = 1
# Hashes do not get shorter.
EXCLUDED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")


class Compress:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressing = GZipMiddleware(
            app, minimum_size=MIN_BYTES, compresslevel=LEVEL, exclude_content_types=EXCLUDED
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        is_ours = scope["type"] == "http" and "authorization" in Headers(scope=scope)
        await (self._compressing if is_ours else self._app)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Add the middleware around the routes of `app`."""
    app.add_middleware(Compress)
