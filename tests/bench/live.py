"""Row 5: the live projections: how fast they go through a backlog, and how far they are behind a steady writer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from time import monotonic, perf_counter, sleep

import uvloop

from ledger.background import STOP_S, running
from ledger.database import Connection, conninfo
from ledger.store.envelope import Line, encode
from ledger.store.writer import Writer
from projections.projector import Helper, Projector
from projections.rebuild import rebuild_outdated
from tests.bench import workload
from tests.bench.bench import SPAWN, Bench, connect
from tests.bench.figures import Figure, Target, quantile

MOST_BACKLOG = 100_000
RATE = 2000
TICK_S = 0.001
POLL_S = 0.001
BACKLOG_POLL_S = 0.02
PATIENCE_S = 60.0
SUSTAINED = Target("at least", 25_000, of="figure")
LAG = Target("at most", 30, of="figure")
REACHED = "SELECT min(position) FROM projections"

Acknowledged = list[tuple[int, float]]
"""(position, time.monotonic() when its append returned)."""


def measure(bench: Bench, url: str) -> list[Figure]:
    """On a ledger whose read models are up to date, or will be. Appends to it."""
    rebuild_outdated(url)
    bench.say("row 5: live projections over a backlog")
    backlog, took_s, cpu_us = _sustained(bench, url)
    bench.say(f"row 5: lag at {RATE:,} appends a second")
    lags_ms, achieved = _lags(bench, url)
    detail = {
        "appends": len(lags_ms),
        "appends_per_s": achieved,
        "p50_ms": quantile(lags_ms, 0.5),
        "most_ms": max(lags_ms),
    }
    return [
        Figure(
            5,
            "live projection of all read models, sustained",
            backlog / took_s,
            "events/s",
            target=SUSTAINED,
            detail={"backlog": backlog},
            cpu_us=cpu_us,
        ),
        Figure(5, f"lag at {RATE:,} appends/s, p99", quantile(lags_ms, 0.99), "ms", target=LAG, detail=detail),
    ]


def _sustained(bench: Bench, url: str) -> tuple[int, float, float]:
    """Let the product's projector and its helper work to the end: (events, seconds, processor time in µs an event)."""
    before = _head(url)
    workload.fill(bench, url, max(1, min(MOST_BACKLOG, bench.options.events // 10)), first_request=_next_request(url))
    head = _head(url)
    with connect(url, "reader") as conn, bench.meter() as meter:
        started = perf_counter()
        with projecting(url):
            _watch(conn, head, every_s=BACKLOG_POLL_S)
        took_s = perf_counter() - started
    return head - before, took_s, meter.us(head - before)


def _lags(bench: Bench, url: str) -> tuple[list[float], float]:
    """(lag of each append in ms, appends a second): writer, projector and this onlooker in a process each."""
    appends = max(1, min(int(RATE * bench.options.seconds * 2), bench.options.events))
    parent, child = SPAWN.Pipe()
    with _projector(url):
        writer = SPAWN.Process(target=write_paced, args=(url, appends, _next_request(url), child), name="bench-writer")
        writer.start()
        with connect(url, "reader") as conn:
            seen = _watch(conn, _head(url) + appends)
        acknowledged: Acknowledged = parent.recv()
        writer.join()
    elapsed = acknowledged[-1][1] - acknowledged[0][1]
    return lags(acknowledged, seen), len(acknowledged) / elapsed if elapsed else 0.0


def lags(acknowledged: Acknowledged, seen: Acknowledged) -> list[float]:
    """For each append, milliseconds until the first look that found it projected; at least 0. Both in order."""
    looks: Iterator[tuple[int, float]] = iter(seen)
    reached, at = next(looks)
    found = []
    for position, acknowledged_at in sorted(acknowledged):
        while reached < position:
            reached, at = next(looks)
        found.append(max(0.0, (at - acknowledged_at) * 1000))
    return found


def _watch(conn: Connection, until: int, every_s: float = POLL_S) -> Acknowledged:
    """How far all read models had come, and when that was known, each time that it had changed."""
    seen: Acknowledged = []
    deadline = monotonic() + PATIENCE_S
    while not seen or seen[-1][0] < until:
        reached = _reached(conn)
        now = monotonic()
        if not seen or reached > seen[-1][0]:
            seen.append((reached, now))
            deadline = now + PATIENCE_S
        assert now < deadline, f"the projections stand still at {reached}"
        sleep(every_s)
    return seen


def write_paced(url: str, appends: int, first_request: int, into: object) -> None:
    """Appends one event at a time through one Writer, RATE a second; then sends what was acknowledged when."""
    acknowledged = uvloop.run(_write_paced(url, appends, first_request))
    into.send(acknowledged)  # type: ignore[attr-defined]


async def _write_paced(url: str, appends: int, first_request: int) -> Acknowledged:
    events = [new for batch in workload.history(first_request, appends, workload.clients(appends)) for new in batch]
    lines = [encode(new) for new in events]
    writer = Writer(conninfo(url, "writer"))
    await writer.start()
    acknowledged: Acknowledged = []

    async def append(line: Line) -> None:
        recorded = await writer.append_lines([line])
        acknowledged.append((recorded[0].position, monotonic()))

    started = monotonic()
    async with asyncio.TaskGroup() as group:
        sent = 0
        while sent < len(lines):
            due = min(len(lines), int((monotonic() - started) * RATE) + 1)
            for line in lines[sent:due]:
                group.create_task(append(line))
            sent = due
            await asyncio.sleep(TICK_S)
    await writer.close()
    return acknowledged


@contextmanager
def _projector(url: str) -> Iterator[None]:
    """A process in which projector and helper run, while the block does."""
    ready, stop = SPAWN.Event(), SPAWN.Event()
    process = SPAWN.Process(target=project, args=(url, ready, stop), name="bench-projector")
    process.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield
    finally:
        stop.set()
        process.join()


def project(url: str, ready: Event, stop: Event) -> None:
    """Project until told to stop."""
    with projecting(url):
        ready.set()
        stop.wait()


@contextmanager
def projecting(url: str) -> Iterator[None]:
    """Run a projector and its helper, as the product's process does, while the block runs."""
    helper = Helper(url)
    projector = Projector(url, helper=helper)
    with running(helper, STOP_S), running(projector, STOP_S):
        yield


def _reached(conn: Connection) -> int:
    row = conn.execute(REACHED, prepare=True).fetchone()
    assert row is not None
    return int(row[0])


def _head(url: str) -> int:
    with connect(url) as conn:
        row = conn.execute("SELECT position FROM head").fetchone()
    assert row is not None
    return int(row[0])


def _next_request(url: str) -> int:
    with connect(url) as conn:
        row = conn.execute("SELECT last + 1 FROM stream_numbers WHERE category = 'request-'").fetchone()
    return 1 if row is None else int(row[0])
