"""`python -m tests.bench.followers STREAMS [ROUNDS]`: what open streams of events cost the server, and those who write.

Each stream is a connection of its own, twenty to a subject. A writer sends one request after another, by turns without
streams and with streams of a kind: the ratios are the medians of the turns. Processor time is that of the server's
process, for each second while nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection as Pipe
from statistics import median
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
WRITES, CONNECTIONS, ROUNDS = 400, 1, 3
IDLE_S = 3.0
OPENED_WITHIN_S = 100.0
DEAF = 100
# A stream whose writer is forgotten is closed.
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Kind:
    """Streams of one kind: their filters, and whether anybody reads them after the first bytes."""

    name: str
    query: str
    streams: int
    reads: bool = True


@dataclass
class Turn:
    """The measurements of one turn."""

    idle: float
    rate: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Measure each kind of streams by turns with none."""
    streams, rounds = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    kinds = [
        Kind("that match nothing", "type=request.withdrawn", streams),
        Kind("that get each request", "type=portfolio.requested", streams),
        Kind("of all events, which nobody reads", "format=ocsf", DEAF, reads=False),
    ]
    with server() as url, Bench(url, Options(), Console(stderr=True)).ledger() as ledger:
        rebuild_outdated(ledger)
        writer = subject(ledger, "writer", "advisor")
        tokens = [
            subject(ledger, f"follower-{number}", "compliance") for number in range(-(-streams // STREAMS_OF_ONE))
        ]
        with running("ledger", ledger) as (port, pid):
            keys = count()
            _measured(port, pid, writer, next(keys))  # to warm up
            for kind in kinds:
                without, beside = [], []
                for _ in range(rounds):
                    without.append(_measured(port, pid, writer, next(keys)))
                    query = f"{kind.query}&position_from={_head(ledger) + 1}" if kind.reads else kind.query
                    with _followed(port, tokens, query, kind):
                        beside.append(_measured(port, pid, writer, next(keys)))
                _print(kind, without, beside)


def _print(kind: Kind, without: list[Turn], beside: list[Turn]) -> None:
    def ratio(name: str) -> float:
        pairs = zip(beside, without, strict=True)
        return float(median(getattr(mine, name) / getattr(other, name) for mine, other in pairs))

    def each(name: str, turns: list[Turn]) -> str:
        return ", ".join(f"{getattr(turn, name):.1f}" for turn in turns)

    print(f"{kind.streams} streams {kind.name}:")
    for name, what in (("rate", "writes/s"), ("p50_ms", "p50 in ms"), ("p99_ms", "p99 in ms")):
        print(f"  {what}: {each(name, beside)} beside {each(name, without)}: ratio {ratio(name):.2f}")
    idle = [median(turn.idle for turn in turns) * 100 for turns in (beside, without)]
    print(f"  while nothing happens: {idle[0]:.1f} % of a core beside {idle[1]:.1f} %", flush=True)


def _head(url: str) -> int:
    with connect(url) as conn:
        return int(conn.execute("SELECT position FROM head").fetchall()[0][0])


def _measured(port: int, pid: int, token: str, number: int) -> Turn:
    """Measure the processor time of the server while nothing happens, and then what a writer gets."""
    before_s, began_s = used_s(pid), perf_counter()
    sleep(IDLE_S)
    idle = (used_s(pid) - before_s) / (perf_counter() - began_s)
    with ProcessPoolExecutor(1, mp_context=SPAWN) as generator:
        asked = (port, {"Authorization": f"Bearer {token}"}, orjson.dumps(ASKED), CONNECTIONS, 600.0, number * WRITES)
        found = generator.submit(load.run, *asked, WRITES).result()
    assert set(found.status) == {202}, found.status
    p50, p99 = (quantile(found.latencies_ms, share) for share in (0.5, 0.99))
    return Turn(idle, found.rate, p50, p99)


@contextlib.contextmanager
def _followed(port: int, tokens: list[str], query: str, kind: Kind) -> Iterator[None]:
    """Keep streams of this kind open, in a process of their own, during the block."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_follow, args=(theirs, port, tokens, query, kind), name="bench-followers")
    process.start()
    try:
        assert ours.poll(OPENED_WITHIN_S), "the streams were not opened in time"
        ours.recv()
        yield
    finally:
        process.terminate()
        process.join()


def _follow(pipe: Pipe, port: int, tokens: list[str], query: str, kind: Kind) -> None:
    asyncio.run(_follow_all(pipe, port, tokens, query, kind))


async def _follow_all(pipe: Pipe, port: int, tokens: list[str], query: str, kind: Kind) -> None:
    turn = asyncio.Semaphore(20)
    streams_open = await asyncio.gather(
        *(_open(turn, port, tokens[number // STREAMS_OF_ONE], query, kind) for number in range(kind.streams))
    )
    pipe.send(len(streams_open))
    if kind.reads:
        await asyncio.gather(*map(_read_on, streams_open))
    await asyncio.Event().wait()


async def _open(turn: asyncio.Semaphore, port: int, token: str, query: str, kind: Kind) -> Stream:
    """Open a stream; read until it has caught up, or its first bytes."""
    async with turn:
        conn = socket.socket()
        if not kind.reads:
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        conn.connect((HOST, port))
        reader, writer = await asyncio.open_connection(sock=conn, limit=1 << (16 if kind.reads else 10))
        writer.write(
            f"GET /events/stream?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        await reader.readuntil(b"event: caught-up\n" if kind.reads else b"retry")
        return reader, writer


async def _read_on(stream: Stream) -> None:
    while await stream[0].read(1 << 16):
        pass


if __name__ == "__main__":
    main()
