"""Row 7: what was known about one client at some moment, asked as the API asks it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from time import perf_counter

import psycopg
import uvloop

from ledger.database import AsyncConnection, conninfo
from projections import reads
from projections.reads import AsOf
from projections.registry import READ_MODELS
from projections.rows import read_rows
from tests.bench import workload
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, Target, quantile

MOST_CLIENTS = 1000
WARM_UP = 20
LIMIT = 51
# Agents are nobody's.
OF_CLIENTS = [found for found in READ_MODELS if "client_id" in found.filters]
TARGET = Target("at most", 20, of="figure")


def measure(bench: Bench, url: str) -> list[Figure]:
    """Random clients at random moments, each read model in turn; once by position, once by time."""
    bench.say("row 7: one client as of a moment")
    with connect(url) as conn:
        row = conn.execute("SELECT position FROM head").fetchone()
        assert row is not None
        drawn = random.Random(7)
        asked = min(MOST_CLIENTS, max(10, bench.options.events // 100))
        positions = [drawn.randint(1, row[0]) for _ in range(asked)]
        times = [_recorded_at(conn, position) for position in positions]
    among = workload.clients(bench.options.events)
    names = [workload.client_name(drawn.randrange(among)) for _ in range(asked)]
    found = []
    for what, moments in (("position", positions), ("time", times)):
        took_ms, rows = uvloop.run(_ask(url, names, moments))
        detail = {
            "events": row[0],
            "clients": asked,
            "rows": rows,
            "p50_ms": quantile(took_ms, 0.5),
            "most_ms": max(took_ms),
        }
        name = f"one client as of a {what}, p99"
        found.append(Figure(7, name, quantile(took_ms, 0.99), "ms", target=TARGET, detail=detail))
    return found


def _recorded_at(conn: psycopg.Connection, position: int) -> datetime:
    row = conn.execute("SELECT recorded_at FROM events WHERE position = %s", [position]).fetchone()
    assert row is not None
    at = row[0]
    assert isinstance(at, datetime)
    return at


async def _ask(url: str, names: Sequence[str], moments: Sequence[int | datetime]) -> tuple[list[float], int]:
    """(milliseconds of each read, rows in all)."""
    took_ms: list[float] = []
    rows = 0
    async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
        await _read_all(conn, names[:WARM_UP], moments)
        for name, moment in zip(names, moments, strict=True):
            for index in range(len(OF_CLIENTS)):
                started = perf_counter()
                rows += await _read(conn, index, name, moment)
                took_ms.append((perf_counter() - started) * 1000)
    return took_ms, rows


async def _read_all(conn: AsyncConnection, names: Sequence[str], moments: Sequence[int | datetime]) -> None:
    for name, moment in zip(names, moments, strict=False):
        for index in range(len(OF_CLIENTS)):
            await _read(conn, index, name, moment)


async def _read(conn: AsyncConnection, index: int, client_id: str, moment: int | datetime) -> int:
    position = await reads.resolve(conn, moment)
    filters = {"client_id": client_id}
    return len(await read_rows(conn, OF_CLIENTS[index], filters, as_of=AsOf(position), limit=LIMIT))
