"""What is counted. Labels are routes, methods and statuses: never an id, a name or anything a caller sent."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CountResponses:
    """ASGI middleware: counts responses by method, route and status."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        self._app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes everything through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self._counter.labels(scope["method"], route, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, counted)


def install(app: FastAPI, registry: CollectorRegistry) -> None:
    """Counts this application's responses in `registry`."""
    counter = Counter(
        "advice_ledger_http_responses", "HTTP responses.", ("method", "route", "status"), registry=registry
    )
    app.add_middleware(CountResponses, counter=counter)
