"""A relay between a client and the database, in the test's event loop, that loses messages on demand."""

from __future__ import annotations

import asyncio
import tempfile
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
        # Cleared, connections stay and nothing passes: a database that hangs.
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
