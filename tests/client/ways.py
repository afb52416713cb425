"""Call both clients in one way, so that each test is written once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import httpx
from advice_ledger_client import AsyncLedgerClient, LedgerClient

TOKEN = "alt_a-secret-that-nothing-shows"
BASE = "http://ledger.test"
Way = Literal["sync", "async"]
WAYS: tuple[Way, ...] = ("sync", "async")
Handler = Callable[[httpx.Request], httpx.Response]


def do(way: Way, handler: Handler, operation: str, *args: Any, **kwargs: Any) -> Any:
    """Return the result of one operation of one client, with its requests answered by `handler`."""
    patience = {"timeout_s": kwargs.pop("timeout_s", 30.0), "retries": kwargs.pop("retries", 8)}
    transport = httpx.MockTransport(handler)
    if way == "sync":
        with httpx.Client(transport=transport) as http:
            return getattr(LedgerClient(BASE, TOKEN, http=http, **patience), operation)(*args, **kwargs)

    async def run() -> Any:
        async with httpx.AsyncClient(transport=transport) as http:
            return await getattr(AsyncLedgerClient(BASE, TOKEN, http=http, **patience), operation)(*args, **kwargs)

    return asyncio.run(run())


def call(way: Way, handler: Handler, block: Callable[[Any], object], **kwargs: Any) -> Any:
    """Return the model call after `block` ran as the body of its with statement."""
    patience = {"timeout_s": kwargs.pop("timeout_s", 5.0), "retries": kwargs.pop("retries", 1)}
    kwargs = {"provider_name": "test", "request_model": "model-a", "input_messages": [], **kwargs}
    transport = httpx.MockTransport(handler)
    if way == "sync":
        with (
            httpx.Client(transport=transport) as http,
            LedgerClient(BASE, TOKEN, http=http, **patience).model_call(7, **kwargs) as found,
        ):
            block(found)
        return found

    async def run() -> Any:
        async with (
            httpx.AsyncClient(transport=transport) as http,
            AsyncLedgerClient(BASE, TOKEN, http=http, **patience).model_call(7, **kwargs) as found,
        ):
            block(found)
        return found

    return asyncio.run(run())


def recorded(content: dict[str, Any], position: int = 1, status: int = 201) -> httpx.Response:
    """Build the answer to a write."""
    headers = {"Location": f"/somewhere/{position}", "Ledger-Position": str(position), "Ledger-Hash": "ab" * 32}
    return httpx.Response(status, json=content, headers=headers)


def problem(slug: str, status: int, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    """Build an answer with a problem."""
    content = {"type": f"/problems/{slug}", "title": "No", "status": status, "detail": "said in words", **members}
    headers = {"Content-Type": "application/problem+json", **(headers or {})}
    return httpx.Response(status, json=content, headers=headers)
