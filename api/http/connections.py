"""Limit the connections of a server, and the time that a caller takes to send the head of a request.

uvicorn limits requests, not connections, and waits for a head without end. So a caller that opens connections and
sends nothing would take all descriptors of the process. Here each connection that waits for a head has a deadline. If
there are too many connections, the one that has waited longest for a head or for the rest of a body is closed.
docs/decisions/0010-connections.md has the choice.

uvicorn also continues a request whose caller has gone. Here a read then ends, with its query in the database.
Otherwise callers that send requests and leave could have any number of reads in progress. A write continues, because
its caller may not know whether it was received.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from time import monotonic
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

log = logging.getLogger(__name__)

# Descriptors for everything but connections of callers: the database, files, the agent's HTTP.
RESERVED_DESCRIPTORS = 256
MOST_CONNECTIONS = 10_000
# The time from the connection, or from the end of the answer before, to the end of a request's head.
HEAD_S = 10.0
# If an answer waits and the caller reads nothing for this time, its connection is closed.
READ_S = 30.0
MAX_HEAD_BYTES = 64 * 1024
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# Warn at most this often that the limit is reached.
SAY_AGAIN_S = 60.0
READS = ("GET", "HEAD")
# The key in a request's `state` under which the application finds its connection.
STATE_KEY = "advice_ledger.connection"


def affordable() -> int:
    """Return how many connections the limit on open files allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(soft - RESERVED_DESCRIPTORS, soft // 2))


class Connections:
    """The connections of one server. uvicorn calls `protocol` to make each of them."""

    def __init__(self, most: int | None = None, *, head_s: float = HEAD_S, read_s: float = READ_S) -> None:
        self.most = affordable() if most is None else most
        self.head_s = head_s
        self.read_s = read_s
        self._open: set[Connection] = set()
        # Connections that wait for a head or for the rest of a body; the one that has waited longest is first.
        self._waiting: dict[Connection, None] = {}
        self._said_at: float | None = None

    def protocol(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(self, config, server_state, app_state, _loop)

    def opened(self, connection: Connection) -> None:
        """Add a connection. If there are too many, close the one that has waited longest, or else this one."""
        self._open.add(connection)
        self.waits(connection)
        if len(self._open) > self.most:
            oldest = next(iter(self._waiting))
            self.closed(oldest)
            oldest.abort()
            self._say()

    def waits(self, connection: Connection) -> None:
        """Note that from now on a connection waits for a head, or for the rest of a body."""
        self._waiting.pop(connection, None)
        if connection in self._open:
            self._waiting[connection] = None

    def works(self, connection: Connection) -> None:
        """Note that a connection has a complete request."""
        self._waiting.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def _say(self) -> None:
        now = monotonic()
        if self._said_at is None or now - self._said_at > SAY_AGAIN_S:
            self._said_at = now
            log.warning(
                "%s connections are open, as many as the limit on open files allows: those that have sent no whole "
                "request for longest are closed. Put a proxy in front, or raise the limit",
                self.most,
            )


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with deadlines. It overrides only callbacks of asyncio.Protocol and of httptools' parser."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, STATE_KEY: self}, _loop)
        self._connections = connections
        self._requests = 0
        # The reads in progress.
        self._reads: set[asyncio.Task[Any]] = set()
        self.is_lost = False
        # Called when the server stops, because a streaming answer has to end then.
        self.at_shutdown: set[Callable[[], None]] = set()
        self._in_head = True
        self._in_body = False
        self._head_bytes = 0
        self._head: asyncio.TimerHandle | None = None
        self._read: asyncio.TimerHandle | None = None

    @property
    def is_whole(self) -> bool:
        """True if the body of each request whose head is there has arrived."""
        return not self._in_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._head = self.loop.call_later(self._connections.head_s, self.abort)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End all deadlines, and the reads in progress."""
        self.is_lost = True
        for read in self._reads:
            read.cancel()
        self._connections.closed(self)
        _cancel(self._head)
        _cancel(self._read)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Begin to stop, as uvicorn does, and notify streaming answers."""
        super().shutdown()
        for call in list(self.at_shutdown):
            call()

    def data_received(self, data: bytes) -> None:
        """Parse, and close the connection if its head is too long: httptools would accept a head of any length."""
        super().data_received(data)
        self._head_bytes += len(data) if self._in_head else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(HEAD_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting."""
        self._in_head, self._head_bytes = False, 0
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._in_body = False
        super().on_message_complete()
        if self._requests:
            self._connections.works(self)

    def pause_writing(self) -> None:
        """Begin to wait for a caller that does not read."""
        super().pause_writing()
        self._read = self.loop.call_later(self._connections.read_s, self.abort)

    def resume_writing(self) -> None:
        """Stop waiting for the caller to read."""
        _cancel(self._read)
        super().resume_writing()

    def begin(self, read: asyncio.Task[Any] | None) -> None:
        """Note that a request's head has arrived, perhaps without its body.

        `read`: its task, if it may be ended early.
        """
        self._requests += 1
        if read is not None:
            self._reads.add(read)
        _cancel(self._head)
        if self._in_body:
            self._connections.waits(self)
        else:
            self._connections.works(self)

    def end(self, read: asyncio.Task[Any] | None) -> None:
        """Note that a request is answered. The next head has its own deadline."""
        self._requests -= 1
        if read is not None:
            self._reads.discard(read)
        if not self._requests and not self.transport.is_closing():
            self._head = self.loop.call_later(self._connections.head_s, self.abort)
            self._connections.waits(self)

    def abort(self) -> None:
        """Close at once, without an answer, because the caller would not read one."""
        self.transport.abort()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class TellConnection:
    """ASGI middleware. Notifies the connection of a request when the head has arrived and when the answer is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        connection: Connection | None = scope.get("state", {}).get(STATE_KEY)
        if scope["type"] != "http" or connection is None:
            await self._app(scope, receive, send)
            return
        read = asyncio.current_task() if scope["method"] in READS else None
        connection.begin(read)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not connection.is_lost:
                raise
        finally:
            connection.end(read)
