"""Compress answers with gzip where this leaks nothing. Pure ASGI.

The length of a compressed answer depends on repetitions in it. An attacker who can make another person's browser send
requests, and who sees the length of the answers, can guess their content (the attack is known as BREACH). A browser
sends cookies by itself, but never a header Authorization. So only answers to callers with that header are compressed:
an attacker cannot cause such requests.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Shorter answers fit into one packet without compression.
MIN_BYTES = 1024
# The fastest level.
LEVEL = 1
# Hashes do not compress.
EXCLUDED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")


class Compress:
    """ASGI middleware. Starlette's part of it comes in only for an answer that may be compressed: most are short."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or not any(name == b"authorization" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        chosen: Send | None = None

        async def send_in_size(message: Message) -> None:
            nonlocal chosen
            if chosen is None:
                chosen = send if _is_short(message) else self._compressing(scope, send)
            await chosen(message)

        await self._app(scope, receive, send_in_size)

    def _compressing(self, scope: Scope, send: Send) -> Send:
        accepts = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        responder = (
            GZipResponder(self._app, MIN_BYTES, LEVEL, exclude_content_types=EXCLUDED)
            if accepts
            else IdentityResponder(self._app, MIN_BYTES, exclude_content_types=EXCLUDED)
        )
        responder.send = send
        return responder.send_with_compression


def _is_short(start: Message) -> bool:
    """Return True if an answer says that it is too short to be compressed."""
    return any(name == b"content-length" and int(value) < MIN_BYTES for name, value in start["headers"])


def install(app: FastAPI) -> None:
    """Add the middleware around the routes of `app`."""
    app.add_middleware(Compress)
