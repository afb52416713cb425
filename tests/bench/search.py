"""`python -m tests.bench.search EVENTS`: times and plans of searches of events (docs/explain/event-index.md)."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import psycopg
from psycopg import sql
from rich.console import Console

from ledger.database import AsyncConnection, Connection, conninfo
from projections import client_names
from projections.clients.model import CLIENTS
from projections.engine import step
from projections.event_index.model import EVENT_INDEX
from projections.event_search import SEARCH, condition, positions_within, search
from projections.event_texts.model import EVENT_TEXTS
from projections.rebuild import BULK, rebuild_read_models
from projections.rows import Order, direction
from tests.bench import acts, workload
from tests.bench.bench import Bench, Options, connect, server
from tests.bench.cpu import used_s
from tests.bench.figures import quantile

TIMES = 200
PAGE = 51
NEW = 20_000
IDENTIFIERS = "SELECT client_id FROM stream_clients GROUP BY 1 ORDER BY 1"
EDGES = "SELECT min(recorded_at), max(recorded_at) FROM events"

Draw = Callable[[], dict[str, object]]


def main() -> None:
    """Fill a ledger; print the times of searches and their plans, and what a live step costs."""
    events = int(sys.argv[1])
    with server() as url:
        bench = Bench(url, Options(events=events), Console(stderr=True))
        with bench.ledger() as ledger:
            workload.fill(bench, ledger, events)
            acts.act(bench, ledger)
            rebuild_read_models(ledger, [EVENT_INDEX, EVENT_TEXTS, CLIENTS])
            with connect(ledger, "owner", **BULK) as conn:
                print(f"live step: {_stepped(conn):.1f} µs of the database's processor time for each event")
            with connect(ledger, "owner") as conn:
                conn.execute("VACUUM ANALYZE event_index, event_texts")
            asyncio.run(_searches(ledger))


def _stepped(conn: Connection) -> float:
    """Apply the newest events of an emptied read model in steps, and return the cost of each."""
    [(head,)] = conn.execute("SELECT position FROM head").fetchall()
    query = "UPDATE projections SET position = %s WHERE name = 'event_index'"
    conn.execute("DELETE FROM event_index WHERE id > %s", [head - NEW])
    conn.execute(query, [head - NEW])
    before_s = used_s(conn.info.backend_pid)
    while step(conn, EVENT_INDEX, 100) is not None:
        pass
    return (used_s(conn.info.backend_pid) - before_s) / NEW * 1e6


async def _searches(ledger: Any) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo(ledger, "reader"), autocommit=True) as conn:
        clients = [name for (name,) in await (await conn.execute(IDENTIFIERS)).fetchall()]
        [(first, last)] = await (await conn.execute(EDGES)).fetchall()
        [(head,)] = await (await conn.execute("SELECT position FROM head")).fetchall()

        def client() -> dict[str, object]:
            return {"of_client": [random.choice(clients)]}

        def window() -> dict[str, object]:
            low, high = sorted(first + random.random() * (last - first) for _ in range(2))
            return {"window": (low, high)}

        draws: dict[str, Draw] = {
            "client": client,
            "window": window,
            "client and window": lambda: {**client(), **window()},
            "type": lambda: {"type": "recommendation.recorded"},
            "type, of which there is none": lambda: {"type": "request.failed"},
            "type at one end": lambda: {"type": "recommendation.confirmed"},
            "role, in which nobody acted": lambda: {"role": "compliance"},
            "words of each recommendation": lambda: {"text": "advice judge"},
            "words of each decision, at one end": lambda: {"text": "horizon loss"},
            "words that are nowhere": lambda: {"text": "unheard"},
            "actor": lambda: {"actor": "builtin"},
            "model and window": lambda: {"model": "builtin-policy", **window()},
            "outcome edit": lambda: {"outcome": "edit"},
            "amount, of which there is none": lambda: {"amount_from": 1_000_000},
        }
        for name, draw in draws.items():
            for order in ("newest", "oldest"):
                await _timed(conn, name, draw, order, head)


async def _timed(conn: AsyncConnection, name: str, draw: Draw, order: Order, head: int) -> None:
    """Print the times of a search, and the plan of the last one."""
    times_ms = []
    before_s = used_s(conn.info.backend_pid)
    filters: dict[str, object] = {}
    for _ in range(TIMES):
        filters = draw()
        began_s = perf_counter()
        window: Any = filters.pop("window", (None, None))
        start, end = window
        low, high = await positions_within(conn, start, end, head)
        if "of_client" in filters:
            names = await client_names.names_of(conn, filters["of_client"])  # type: ignore[arg-type]
            filters["of_client"] = [each for found in names.values() for each in found]
        filters |= {"from_id": low, "before_id": high + 1, "upto": head}
        await search(conn, filters, order, PAGE)
        times_ms.append((perf_counter() - began_s) * 1000)
    p50, p99 = quantile(times_ms, 0.5), quantile(times_ms, 0.99)
    used_ms = (used_s(conn.info.backend_pid) - before_s) / TIMES * 1000
    print(f"{name}, {order}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {used_ms:.1f} ms of processor time", flush=True)
    query = sql.SQL("EXPLAIN (COSTS OFF) {}").format(SEARCH.format(condition(filters), direction(order)))
    plan = await (await conn.execute(query, {**filters, "limit": PAGE})).fetchall()
    print("\n".join(f"    {line}" for (line,) in plan), flush=True)


if __name__ == "__main__":
    main()
