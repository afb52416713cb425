"""Row 2: one event at a time, beside the `eventsourcing` package's PostgreSQL recorder, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

import psycopg
import uvloop
from eventsourcing.postgres import PostgresApplicationRecorder

from ledger.database import AsyncConnection, conninfo
from ledger.store import events
from ledger.store.envelope import encode
from ledger.store.writer import Writer
from tests.bench import es_peer
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Target, beside
from tests.bench.workload import client_name, requested

MOST_EVENTS = 2000
WARM_UP = 20
TARGET = Target("at most", 0.9)
FUNCTION = Target("at most", 1.3)


@dataclass
class Took:
    """Milliseconds for each append, by way of appending."""

    writer: list[float] = field(default_factory=list)
    append: list[float] = field(default_factory=list)
    recorder: list[float] = field(default_factory=list)
    function: list[float] = field(default_factory=list)


def measure(bench: Bench) -> list[Figure]:
    """p50 of Writer.append(), and of append() of a ready line, each beside both ways of the package's recorder."""
    bench.say("row 2: append of one event")
    appends = max(WARM_UP, min(MOST_EVENTS, bench.options.events // 50))
    with (
        bench.ledger() as url,
        bench.database() as peer_url,
        es_peer.recorder(peer_url, "plain_events", in_function=False) as plain,
        es_peer.recorder(peer_url, "function_events", in_function=True) as function,
    ):
        took = uvloop.run(_measure(url, plain, function, appends))
    default, option = "eventsourcing recorder", "eventsourcing recorder, enable_db_functions"
    return [
        _p50("append of one event, p50: Writer", took.writer, default, took.recorder, bench, TARGET),
        _p50("append of one event, p50: Writer", took.writer, option, took.function, bench, FUNCTION),
        _p50("append of one event, p50: store.append of a ready line", took.append, option, took.function, bench, None),
    ]


def _p50(what: str, ours: list[float], peer: str, theirs: list[float], bench: Bench, target: Target | None) -> Figure:
    """Medians within each of `rounds` stretches of the run, set side by side."""
    size = -(-len(ours) // bench.options.rounds)
    starts = range(0, len(ours), size)
    return beside(
        2,
        what,
        "ms",
        [statistics.median(ours[start : start + size]) for start in starts],
        peer,
        [statistics.median(theirs[start : start + size]) for start in starts],
        target,
        appends=len(ours),
    )


async def _measure(
    url: str, plain: PostgresApplicationRecorder, function: PostgresApplicationRecorder, appends: int
) -> Took:
    writer = Writer(conninfo(url, "writer"))
    await writer.start()
    took = Took()
    try:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as conn:
            for index in range(-WARM_UP, appends):
                if index == 0:
                    took = Took()
                await _one_of_each(writer, conn, plain, function, took, index)
    finally:
        await writer.close()
    return took


async def _one_of_each(
    writer: Writer,
    conn: AsyncConnection,
    plain: PostgresApplicationRecorder,
    function: PostgresApplicationRecorder,
    took: Took,
    index: int,
) -> None:
    """The same event four ways; encoding counts for the Writer, which does it, and for nobody else."""
    new, again = (requested(client_name(index % 100)) for _ in range(2))
    line = encode(again)
    body = line.body()
    await _timed(took.writer, lambda: writer.append([new]))
    _timed_sync(took.recorder, lambda: plain.insert_events([es_peer.stored(body)]))
    await _timed(took.append, lambda: events.append(conn, [line]))
    _timed_sync(took.function, lambda: function.insert_events([es_peer.stored(body)]))


async def _timed(into: list[float], call: Callable[[], Awaitable[object]]) -> None:
    started = perf_counter()
    await call()
    into.append((perf_counter() - started) * 1000)


def _timed_sync(into: list[float], call: Callable[[], object]) -> None:
    started = perf_counter()
    call()
    into.append((perf_counter() - started) * 1000)
