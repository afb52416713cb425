"""Following with the client: new events, reconnects without a gap, ends, and problems."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from advice_ledger_client import AsyncLedgerClient, LedgerClient, LedgerProblem, async_client
from advice_ledger_client import client as blocking

from tests.api.served import Api, served
from tests.client.ways import BASE, TOKEN, WAYS, Handler, Way
from tests.subjects import revoke, subject


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A follower that comes back at once."""
    for module in (async_client, blocking):
        monkeypatch.setattr(module, "COME_BACK_S", 0.001)


def rows(way: Way, handler: Handler, **how: Any) -> list[dict[str, Any]]:
    """What a follower yields until it ends, with its requests answered by `handler`."""
    transport = httpx.MockTransport(handler)
    if way == "sync":
        with httpx.Client(transport=transport) as http:
            return list(LedgerClient(BASE, TOKEN, http=http).follow(**how))

    async def run() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(transport=transport) as http:
            return [row async for row in AsyncLedgerClient(BASE, TOKEN, http=http).follow(**how)]

    return asyncio.run(run())


def message(position: int, name: str = "", data: str = "") -> bytes:
    """One message of the stream."""
    event = f"event: {name}\n" if name else ""
    return f'id: {position}\n{event}data: {data or f"""{{"position": {position}}}"""}\n\n'.encode()


def broken(*messages: bytes) -> Iterator[bytes]:
    """A body that breaks off."""
    yield from messages
    raise httpx.ReadError("gone")


@pytest.mark.parametrize("way", WAYS)
def test_a_follower_comes_back_with_the_last_id(way: Way) -> None:
    """After a body that breaks off, half a message, a heartbeat's id, a 503 and an outage within the stream."""
    asked: list[str | None] = []
    outage = message(9, "problem", '{"type": "/problems/unavailable", "status": 503}').replace(b"id: 9\n", b"")
    answers: list[Any] = [
        [b"retry: 1000\n\n", message(1), message(2), b"id: 3\ndata: {"],
        [message(3), b": heartbeat\nid: 7\n\n"],
        None,
        [outage],
        [message(8), message(9, "caught-up"), message(9, "end")],
    ]

    class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __init__(self, parts: list[bytes]) -> None:
            self._parts = parts

        def __iter__(self) -> Iterator[bytes]:
            return broken(*self._parts)

        async def __aiter__(self) -> Any:
            for part in broken(*self._parts):
                yield part

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("last-event-id"))
        assert (request.url.path, request.url.params["type"]) == ("/events/stream", "a.b")
        parts = answers.pop(0)
        return httpx.Response(503) if parts is None else httpx.Response(200, stream=Body(parts))

    assert [row["position"] for row in rows(way, handler, type="a.b")] == [1, 2, 3, 8]
    assert asked == [None, "2", "7", "7", "7"]


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_is_raised(way: Way) -> None:
    """Before the stream begins, and within it."""
    refused = httpx.Response(403, json={"type": "/problems/wrong-role", "status": 403})
    refused.headers["content-type"] = "application/problem+json"
    with pytest.raises(LedgerProblem, match="wrong-role"):
        rows(way, lambda _: refused)
    gone = message(4, "problem", '{"type": "/problems/unknown-token", "status": 401, "title": "t", "detail": "d"}')
    with pytest.raises(LedgerProblem, match="401 unknown-token"):
        rows(way, lambda _: httpx.Response(200, content=gone))


def test_a_follower_of_a_running_ledger(api: Api) -> None:
    """What is there, what comes, an end, and the loss of the right."""
    first = api.asked()
    api.tokens["follower"] = subject(api.url, "follower", "compliance")
    with LedgerClient(api.base, api.tokens["follower"]) as client:
        head, _ = api.head()
        there = list(client.follow(until_caught_up=True, type="portfolio.requested"))
        assert first in {row["request_id"] for row in there}
        assert [row["position"] for row in client.follow(after=1, position_to=head)] == list(range(2, head + 1))
        following = client.follow(after=head, type="portfolio.requested")
        second = api.asked()
        assert next(following)["request_id"] == second
        revoke(api.url, "follower")
        with pytest.raises(LedgerProblem, match="unknown-token"):
            next(following)


def test_a_follower_outlives_a_server(api: Api) -> None:
    """A server that stops ends the stream; the follower goes on at the next one, here behind the same client."""
    head, _ = api.head()
    where: list[str] = []

    class Moving(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.url = request.url.copy_with(port=httpx.URL(where[0]).port)
            return super().handle_request(request)

    with httpx.Client(transport=Moving()) as http:
        client = LedgerClient(api.base, api.tokens["compliance"], http=http)
        following = client.follow(after=head, type="portfolio.requested")
        with served(api.url, tokens=api.tokens) as other:
            where[:] = [other.base]
            first = api.asked()
            assert next(following)["request_id"] == first
        where[:] = [api.base]
        second = api.asked()
        assert next(following)["request_id"] == second
