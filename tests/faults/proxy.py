"""A relay between a client and the database that loses messages on demand, or lets nothing through."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

PORT = "5432"  # names the socket, nothing more
BIND = b"B"  # how a request begins that runs a prepared statement
READY = b"Z\x00\x00\x00\x05I"  # how an answer ends: all is committed by then
CHUNK_BYTES = 65536


class Proxy:
    """Relays messages, unless an attribute says otherwise. `url` leads through the relay."""

    def __init__(self, target: str, folder: Path) -> None:
        self._target = conninfo_to_dict(target)
        self._path = folder / f".s.PGSQL.{PORT}"
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.url = make_conninfo(target, host=str(folder), port=PORT)
        # How many more statements get lost on their way, and how many more answers to them; the connection goes too.
        self.requests_to_lose = 0
        self.answers_to_lose = 0
        # Cleared, connections stay and nothing passes, in both directions: a database that hangs, or a network cut.
        self.passing = asyncio.Event()
        self.passing.set()

    async def open(self) -> None:
        """Take connections, as a database that was started."""
        self._server = await asyncio.start_unix_server(self._serve, str(self._path))

    async def cut(self) -> None:
        """End all connections and refuse new ones, as a database that was stopped."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        link = asyncio.create_task(self._relay(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Relay one connection until either side ends it or a message is lost."""
        database_reader, database_writer = await self._connect()
        lost = asyncio.Event()
        pumps = [
            asyncio.create_task(self._requests(reader, database_writer, lost)),
            asyncio.create_task(self._answers(database_reader, writer, lost)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            for end in (writer, database_writer):
                end.transport.abort()

    async def _connect(self) -> tuple[StreamReader, StreamWriter]:
        host, port = str(self._target.get("host") or "localhost"), str(self._target.get("port") or "5432")
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, int(port))

    async def _requests(self, reader: StreamReader, writer: StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if data.startswith(BIND) and self.requests_to_lose:
                self.requests_to_lose -= 1
                return
            if data.startswith(BIND) and self.answers_to_lose:
                self.answers_to_lose -= 1
                lost.set()
            await self.passing.wait()
            writer.write(data)
            await writer.drain()

    async def _answers(self, reader: StreamReader, writer: StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self.passing.wait()
            if not lost.is_set():
                writer.write(data)
                await writer.drain()
            elif data.endswith(READY):
                return


@asynccontextmanager
async def running(target: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of `target`, a connection string."""
    with tempfile.TemporaryDirectory(prefix="proxy-", dir="/tmp") as folder:  # a short path, as a socket needs
        proxy = Proxy(target, Path(folder))
        await proxy.open()
        try:
            yield proxy
        finally:
            await proxy.cut()


class Network:
    """The network between an application and its database, by a proxy with a thread of its own."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.url = proxy.url

    def cut(self) -> None:
        """Let nothing through any more. Neither side is told."""
        self._run(self._pass(False))

    def heal(self, *, late: bool) -> None:
        """Let all through again. If `late`, what was held up arrives now; otherwise both sides gave up meanwhile."""
        if not late:
            self._run(self._proxy.cut())
            self._run(self._proxy.open())
        self._run(self._pass(True))

    async def _pass(self, passing: bool) -> None:
        (self._proxy.passing.set if passing else self._proxy.passing.clear)()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


@contextmanager
def network(target: str) -> Iterator[Network]:
    """Run a network in front of `target`, a connection string."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="network")
    thread.start()
    context = running(target)
    try:
        proxy = asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(30)
        try:
            yield Network(proxy, loop)
        finally:
            asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
