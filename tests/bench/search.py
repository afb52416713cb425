"""`python -m tests.bench.search EVENTS`: searches of events over HTTP, a timeline, and rows as CSV.

A ledger of EVENTS events and 5,000 clients, of which one has 2,000 events and more. Everything is asked twice: first as
recorded, then with four fifths of the rows of the index marked as imported, in the order of their times, over nine
years. Prints what live steps cost, the times of each search by the clock and its processor time (server and database),
and the plan of each (docs/explain/event-index.md).
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter

import httpx
import psutil
import psycopg
from psycopg import sql
from rich.console import Console

from ledger.database import AsyncConnection, Connection, conninfo
from ledger.store.envelope import NewEvent, uuid7
from projections.engine import step
from projections.event_index.model import EVENT_INDEX
from projections.event_search import SEARCH, Search, in_window
from projections.rebuild import BULK, rebuild_read_models
from projections.registry import READ_MODELS
from schema.clients import ClientRegistered
from tests.bench import acts, workload
from tests.bench.bench import Bench, Options, connect, server
from tests.bench.cpu import used_s
from tests.bench.figures import quantile
from tests.bench.servers import HOST, running
from tests.subjects import subject
from tests.support import append

TIMES, PAGE = 100, 50
OF_ONE = 2_000
EVENTS_OF_A_CLIENT = 200
NEW = 20_000
LINES = 100_000
IMPORT = """
    UPDATE event_index
    SET imported_by = 'cli:olga', occurred_at = '2016-01-01Z'::timestamptz + id * interval '9 years' / %s
    WHERE id <= %s
"""
ONE = workload.client_name(0)

Draw = Callable[[], dict[str, str]]


def main() -> None:
    """Fill a ledger and measure it."""
    events = int(sys.argv[1])
    with server() as url:
        bench = Bench(url, Options(events=events), Console(stderr=True))
        with bench.ledger() as ledger:
            _fill(bench, ledger, events)
            token = subject(ledger, "reviewer", "compliance")
            rebuild_read_models(ledger, list(READ_MODELS))
            with connect(ledger, "owner", **BULK) as conn:
                print(f"live step: {_stepped(conn):.1f} µs of the database's processor time for each event")
            assert bench.server is not None
            for imported in (0, events * 4 // 5):
                with connect(ledger, "owner") as conn:
                    conn.execute(IMPORT, [max(1, imported), imported])
                    conn.execute("VACUUM ANALYZE event_index, event_texts")
                print(f"\n{imported} imported events", flush=True)
                with running("ledger", ledger) as (port, pid):
                    _Asked(port, token, [pid, bench.server]).all()
                asyncio.run(_plans(ledger))


def _fill(bench: Bench, ledger: str, events: int) -> None:
    workload.fill(bench, ledger, events * 4 // 5, among=events // EVENTS_OF_A_CLIENT)
    acts.act(bench, ledger)
    with connect(ledger) as conn:
        [(requests,)] = conn.execute("SELECT count(*) FROM events WHERE type = 'portfolio.requested'").fetchall()
        append(conn, NewEvent(uuid7(), "client-1", ClientRegistered(client_id=ONE), workload.ADVISOR))
    workload.fill(bench, ledger, OF_ONE, first_request=requests + 1, among=1)


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


def _client() -> dict[str, str]:
    return {"client_id": workload.client_name(random.randrange(int(sys.argv[1]) // EVENTS_OF_A_CLIENT))}


def _day() -> str:
    return f"20{random.randrange(16, 25)}-{random.randrange(1, 13):02}-{random.randrange(1, 29):02}"


def _window() -> dict[str, str]:
    first, last = sorted((_day(), _day()))
    return {"from": first, "to": last}


def _one_day() -> dict[str, str]:
    day = _day()
    return {"from": day, "to": day}


DRAWS: dict[str, Draw] = {
    "client": _client,
    "client of 2,000 events": lambda: {"client_id": ONE},
    "a day": _one_day,
    "some years": _window,
    "since 2025": lambda: {"from": "2025-01-01"},
    "client and window": lambda: {**_client(), **_window()},
    "client, type and window": lambda: {**_client(), **_window(), "type": "recommendation.recorded"},
    "type": lambda: {"type": "recommendation.recorded"},
    "type and day": lambda: {"type": "recommendation.decided", **_one_day()},
    "type and window": lambda: {"type": "recommendation.confirmed", **_window()},
    "type, of which there is none": lambda: {"type": "request.withdrawn", **_window()},
    "person": lambda: {"actor": "advisor-17"},
    "person and window": lambda: {"actor": "advisor-18", **_window()},
    "role, in which nobody acted, and window": lambda: {"role": "compliance", **_window()},
    "model and window": lambda: {"model": "builtin-model-portfolios", **_window()},
    "outcome edit": lambda: {"outcome": "edit"},
    "person and type that never meet, and window": lambda: {
        "actor": "builtin",
        "type": "portfolio.requested",
        **_window(),
    },
    "amount, of which there is none": lambda: {"amount_from": "1000000"},
    "words of each recommendation, and window": lambda: {"text": "advice judge", **_window()},
    "words of each decision": lambda: {"text": "horizon loss"},
    "words of each decision, and window": lambda: {"text": "horizon loss", **_window()},
    "words of one client, and window": lambda: {"text": ONE, **_window()},
    "words that are nowhere, and window": lambda: {"text": "unheard", **_window()},
    "client and words": lambda: {**_client(), "text": "horizon loss"},
    "any, counted": lambda: {"count": "true", **_window()},
}


class _Asked:
    """Requests to the server, and what they cost."""

    def __init__(self, port: int, token: str, pids: list[int]) -> None:
        self._client = httpx.Client(
            base_url=f"http://{HOST}:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=120
        )
        self._pid, self._pids = pids[0], pids

    def all(self) -> None:
        """Ask for everything."""
        with self._client:
            for name, draw in DRAWS.items():
                for order in ("newest", "oldest"):
                    self._search(f"{name}, {order}", draw, order)
            with self._printed(f"timeline of {OF_ONE} events", 20) as times_ms:
                for _ in range(20):
                    times_ms.append(self._timed("/clients/1/timeline", {"limit": str(OF_ONE)})[0])
            self._csv()

    def _search(self, name: str, draw: Draw, order: str) -> None:
        """Ask for first pages, and for second ones; the first request of all warms up."""
        self._timed("/events", {**draw(), "order": order})
        cursors = []
        with self._printed(f"{name}: first page", TIMES) as times_ms:
            for _ in range(TIMES):
                query = {**draw(), "order": order, "limit": str(PAGE)}
                took_ms, found = self._timed("/events", query)
                times_ms.append(took_ms)
                cursors += [] if found["next_cursor"] is None else [{**query, "cursor": found["next_cursor"]}]
        if cursors:
            with self._printed(f"{name}: second page", len(cursors)) as times_ms:
                times_ms.extend(self._timed("/events", query)[0] for query in cursors)

    def _timed(self, path: str, query: dict[str, str]) -> tuple[float, dict[str, str | None]]:
        began_s = perf_counter()
        answer = self._client.get(path, params=query)
        took_ms = (perf_counter() - began_s) * 1000
        assert answer.status_code == 200, answer.text
        return took_ms, answer.json()

    @contextmanager
    def _printed(self, name: str, times: int) -> Iterator[list[float]]:
        times_ms: list[float] = []
        before_s = sum(map(used_s, self._pids))
        yield times_ms
        used_ms = (sum(map(used_s, self._pids)) - before_s) / times * 1000
        p50, p99 = quantile(times_ms, 0.5), quantile(times_ms, 0.99)
        print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {used_ms:.1f} ms of processor time", flush=True)

    def _csv(self) -> None:
        process = psutil.Process(self._pid)
        with self._printed(f"CSV of {LINES} events", 1) as times_ms:
            before, most, lines, began_s = process.memory_info().rss, 0, 0, perf_counter()
            query = {"position_to": str(LINES), "order": "oldest"}
            with self._client.stream("GET", "/events", params=query, headers={"Accept": "text/csv"}) as answer:
                for part in answer.iter_bytes():
                    lines += part.count(b"\n")
                    most = max(most, process.memory_info().rss)
            times_ms.append((perf_counter() - began_s) * 1000)
        print(
            f"    {lines} lines; memory of the server from {before / 2**20:.0f} to {most / 2**20:.0f} MiB", flush=True
        )


async def _plans(ledger: str) -> None:
    """Print the plan of each search."""
    async with await psycopg.AsyncConnection.connect(conninfo(ledger, "reader"), autocommit=True) as conn:
        [(head,)] = await (await conn.execute("SELECT position FROM head")).fetchall()
        for name, draw in DRAWS.items():
            query = draw()
            query.pop("count", None)
            days = (query.pop("from", None), query.pop("to", None))
            window = [None if day is None else datetime.fromisoformat(f"{day}T00:00Z") for day in days]
            filters: dict[str, object] = {**query, "upto": head, **await in_window(conn, window[0], window[1], head)}
            if "client_id" in filters:
                filters["of_client"] = [filters.pop("client_id")]
            for order in ("newest", "oldest"):
                print(f"\n{name}, {order}\n{await _plan(conn, Search(filters, order))}", flush=True)


async def _plan(conn: AsyncConnection, search: Search) -> str:
    where, by, given = await search.parts(conn)
    query = sql.SQL("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {}").format(SEARCH.format(where, by))
    cursor = await conn.execute(query, {**given, "limit": PAGE + 1})
    return "\n".join(f"    {line}" for (line,) in await cursor.fetchall())


if __name__ == "__main__":
    main()
