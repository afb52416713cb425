"""Refuse writes on a server that only reads, such as on a standby, and label its answers. Pure ASGI.

Such a server cannot record accesses to data of clients either. Each answer to a caller with a token says so.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import problem
from api.services import Services, services_of
from ledger.errors import Unavailable
from ledger.store.head import read_head_async

METHODS = ("GET", "HEAD", "OPTIONS")
ACCESS_HEADER = "Ledger-Access"
NOT_RECORDED = "not-recorded"
AS_OF_HEADER = "Ledger-As-Of"


class ReadOnly:
    """Answer 405 `read-only` to all methods that may record, whatever the path. ASGI middleware.

    To callers with a token it says in a header that the read is not recorded. A consistent read gets another header,
    with the last position that this database had when the read began: the answer has the events up to there, perhaps
    later ones, but the primary may have more.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it only reads."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["method"] not in METHODS:
            detail = "this server only reads, and recorded nothing: send writes to a server on the primary"
            await problem("read-only", detail, headers={"Allow": ", ".join(METHODS)})(scope, receive, send)
        elif "authorization" in Headers(scope=scope):
            position = await _position(services_of(scope["app"])) if _is_consistent(scope) else None
            await self._app(scope, receive, _saying_so(send, position))
        else:
            await self._app(scope, receive, send)


def install(app: FastAPI) -> None:
    """Add the middleware around the routes of `app`."""
    app.add_middleware(ReadOnly)


def _is_consistent(scope: Scope) -> bool:
    """Return True for a read that has no `as_of` and does not accept an older state."""
    asked = parse_qs(scope["query_string"].decode("latin-1"))
    return scope["method"] != "OPTIONS" and "as_of" not in asked and asked.get("consistency", ["strong"]) == ["strong"]


async def _position(services: Services) -> int | None:
    try:
        head = await services.one_at_once.run("head", lambda: services.ledger.readers.run(read_head_async))
    except Unavailable:
        return None
    return None if head is None else head.position


def _saying_so(send: Send, position: int | None) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers[ACCESS_HEADER] = NOT_RECORDED
            if position is not None and message["status"] < 300:
                headers[AS_OF_HEADER] = str(position)
        await send(message)

    return send_with_headers
