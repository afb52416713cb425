"""`python -m tests.bench.followers STREAMS`: what open streams of events cost the server, and those who write.

Each stream is a connection of its own, twenty to a subject. Figures are processor time: of the server's process, for
each second while nothing happens, and for each write while a writer sends one after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection as Pipe
from time import perf_counter, sleep

import orjson
from rich.console import Console

from projections.rebuild import rebuild_outdated
from tests.bench import load
from tests.bench.bench import SPAWN, Bench, Options, connect, server
from tests.bench.cpu import used_s
from tests.bench.figures import quantile
from tests.bench.http import ASKED
from tests.bench.servers import HOST, running
from tests.subjects import subject

STREAMS_OF_ONE = 20
WRITES, CONNECTIONS = 500, 1
IDLE_S = 5.0
OPENED_WITHIN_S = 100.0
# A stream whose writer is forgotten is closed.
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# Of no event, and of each write.
FILTERS = {"that match nothing": "type=request.withdrawn", "that get each request": "type=portfolio.requested"}


def main() -> None:
    """Measure without streams, and with streams of each kind."""
    streams = int(sys.argv[1])
    with server() as url, Bench(url, Options(), Console(stderr=True)).ledger() as ledger:
        rebuild_outdated(ledger)
        writer = subject(ledger, "writer", "advisor")
        tokens = [
            subject(ledger, f"follower-{number}", "compliance") for number in range(-(-streams // STREAMS_OF_ONE))
        ]
        with running("ledger", ledger) as (port, pid):
            _measured("no streams", port, pid, writer, 0)
            for number, (name, query) in enumerate(FILTERS.items(), 1):
                with _followed(port, tokens, f"{query}&position_from={_head(ledger) + 1}", streams):
                    _measured(f"{streams} streams {name}", port, pid, writer, number)


def _head(url: str) -> int:
    with connect(url) as conn:
        return int(conn.execute("SELECT position FROM head").fetchall()[0][0])


def _measured(name: str, port: int, pid: int, token: str, number: int) -> None:
    """Print the processor time of the server while nothing happens, and for a write."""
    before_s, began_s = used_s(pid), perf_counter()
    sleep(IDLE_S)
    idle = (used_s(pid) - before_s) / (perf_counter() - began_s)
    before_s, began_s = used_s(pid), perf_counter()
    with ProcessPoolExecutor(1, mp_context=SPAWN) as generator:
        asked = (port, {"Authorization": f"Bearer {token}"}, orjson.dumps(ASKED), CONNECTIONS, 600.0, number * WRITES)
        found = generator.submit(load.run, *asked, WRITES).result()
    assert set(found.status) == {202}, found.status
    used, seconds = used_s(pid) - before_s, perf_counter() - began_s
    own_us = (used - idle * seconds) / WRITES * 1e6
    p50, p99 = (quantile(found.latencies_ms, share) for share in (0.5, 0.99))
    print(
        f"{name}: {idle * 100:.1f} % of a core while nothing happens; {own_us:.0f} µs for each write beside that,"
        f" {found.rate:.0f} writes/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms",
        flush=True,
    )


@contextlib.contextmanager
def _followed(port: int, tokens: list[str], query: str, streams: int) -> Iterator[None]:
    """Keep this many streams open, read by a process of their own, during the block."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_follow, args=(theirs, port, tokens, query, streams), name="bench-followers")
    process.start()
    try:
        assert ours.poll(OPENED_WITHIN_S), "the streams were not opened in time"
        ours.recv()
        yield
    finally:
        process.terminate()
        process.join()


def _follow(pipe: Pipe, port: int, tokens: list[str], query: str, streams: int) -> None:
    asyncio.run(_follow_all(pipe, port, tokens, query, streams))


async def _follow_all(pipe: Pipe, port: int, tokens: list[str], query: str, streams: int) -> None:
    turn = asyncio.Semaphore(20)
    streams_open = await asyncio.gather(
        *(_open(turn, port, tokens[number // STREAMS_OF_ONE], query) for number in range(streams))
    )
    pipe.send(len(streams_open))
    await asyncio.gather(*map(_read_on, streams_open))


async def _open(turn: asyncio.Semaphore, port: int, token: str, query: str) -> Stream:
    """Open a stream, and read until it has caught up."""
    async with turn:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(
            f"GET /events/stream?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        await reader.readuntil(b"event: caught-up\n")
        return reader, writer


async def _read_on(stream: Stream) -> None:
    while await stream[0].read(1 << 16):
        pass


if __name__ == "__main__":
    main()
