"""A load generator that leaves the cores to the server: raw protocols on uvloop, requests built beforehand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast

import uvloop

MOST_REQUESTS = 1_000_000
# How long after its time the last answer may come.
GRACE_S = 30.0
KEY = b"bench-%012x"
NUMBER = b"<a number>"


@dataclass
class Load:
    """The answers within the time."""

    seconds: float = 0
    status: dict[int, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies_ms) / self.seconds


@dataclass
class Plan:
    """One request, sent again and again with another Idempotency-Key, until time or number is used up.

    Where the body has NUMBER in it, that becomes another number each time.
    """

    head: bytes
    body: bytes
    seconds: float
    first_key: int
    most: int = MOST_REQUESTS
    sent: int = 0
    until: float = 0

    def next(self) -> bytes | None:
        """Return the next request, or None at the end."""
        if self.sent >= self.most or perf_counter() >= self.until:
            return None
        self.sent += 1
        number = self.first_key + self.sent
        body = self.body.replace(NUMBER, b"%0*x" % (len(NUMBER), number), 1)
        return b"%bIdempotency-Key: %b\r\n\r\n%b" % (self.head, KEY % number, body)


class Client(asyncio.Protocol):
    """One keep-alive connection: the next request goes out when the answer to the last one is whole."""

    def __init__(self, plan: Plan, load: Load) -> None:
        self._plan = plan
        self._load = load
        self._received = b""
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not one of these
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator or len(body) < _content_length(head):
            return
        status = int(head[9:12])
        self._load.status[status] = self._load.status.get(status, 0) + 1
        self._load.latencies_ms.append((perf_counter() - self._sent_at) * 1000)
        self._received = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        found = self._plan.next()
        if found is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = perf_counter()
        self._transport.write(found)


def _content_length(head: bytes) -> int:
    at = head.lower().index(b"content-length:") + 15
    return int(head[at:].partition(b"\r\n")[0])


def run(
    port: int,
    headers: dict[str, str],
    body: bytes,
    connections: int,
    seconds: float,
    first_key: int,
    most: int = MOST_REQUESTS,
) -> Load:
    """Post `body` over `connections` for some seconds, or `most` times. Keys start at `first_key`."""
    lines = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "POST /portfolio/recommendations HTTP/1.1\r\n" + "".join(
        f"{name}: {text}\r\n" for name, text in lines.items()
    )
    plan = Plan(head.encode("ascii"), body, seconds, first_key, most)
    return uvloop.run(_run(port, plan, connections))


async def _run(port: int, plan: Plan, connections: int) -> Load:
    load = Load()
    loop = asyncio.get_running_loop()
    started = perf_counter()
    plan.until = started + plan.seconds
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(plan, load), "127.0.0.1", port)
        clients.append(client)
    async with asyncio.timeout(plan.seconds + GRACE_S):
        await asyncio.gather(*(client.done for client in clients))
    load.seconds = perf_counter() - started
    return load
