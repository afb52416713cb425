"""Compress answers with gzip where this leaks nothing. Pure ASGI.

The length of a compressed answer depends on repetitions in it. An attacker who can make another person's browser send
requests, and who sees the length of the answers, can guess their content (the attack is known as BREACH). A browser
sends cookies by itself, but never a header Authorization. So only answers to callers with that header are compressed:
an attacker cannot cause such requests.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Shorter answers fit into one packet without compression.
MIN_BYTES = 1024
# The fastest level.
LEVEL = 1
# Hashes do not compress.
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
