"""The outermost layer, for every request: bounds the body, counts the response.

Pure ASGI and one wrapper each way, as it stands in the path of every write. Labels are routes, methods and statuses:
never an id, a name or anything a caller sent.
"""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import ApiError, problem

# A caller may make up any number of others.
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Gate:
    """ASGI middleware. A body beyond `most_bytes` gets a 413, whether or not its length was announced."""

    def __init__(self, app: ASGIApp, most_bytes: int, counter: Counter) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything through but bodies that are too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._counter.labels(method, route, message["status"]).inc()
            await send(message)

        length = _announced(scope)
        if length is not None and length > self._most_bytes:
            await problem("too-large", self._message())(scope, receive, counted)
        else:
            # The server holds a caller to the length announced; only a chunked body has to be counted.
            await self._app(scope, receive if length is not None else self._bounded(receive), counted)

    def _bounded(self, receive: Receive) -> Receive:
        seen = 0

        async def bounded() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most_bytes:
                raise ApiError("too-large", self._message())
            return message

        return bounded

    def _message(self) -> str:
        return f"the body is over {self._most_bytes} bytes"


def _announced(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return None


def install(app: FastAPI, registry: CollectorRegistry, *, most_bytes: int) -> None:
    """Puts the gate before everything else."""
    counter = Counter(
        "advice_ledger_http_responses", "HTTP responses.", ("method", "route", "status"), registry=registry
    )
    app.add_middleware(Gate, most_bytes=most_bytes, counter=counter)
