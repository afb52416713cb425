"""Row 3: POST /portfolio/recommendations beside a plain endpoint that inserts a row, and one that only echoes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg

from projections.rebuild import rebuild_outdated
from tests.bench import load
from tests.bench.bench import SPAWN, Bench, connect
from tests.bench.cpu import Meter, used_s
from tests.bench.figures import Figure, Target, beside, quantile
from tests.bench.servers import PLAIN_TABLE, Kind, running
from tests.subjects import subject

CONNECTIONS = 32
WARM_UP_S = 1.0
# The first request for a client registers it, which is one more event.
CLIENTS = 1
ASKED = {
    "client_id": "client-0000017",
    "risk_profile": "balanced",
    "amount_usd": "250000.00",
    "horizon_years": 12,
    "constraints": {"exclude_asset_classes": ["real_estate"], "max_equity": "0.60"},
}


@dataclass
class Side:
    """One server: its address, its requests, and the results of each round.

    `cpu_us`: processor time of the server's process for a request; `meter` has the database's as well.
    """

    kind: Kind
    port: int
    pid: int
    meter: Meter
    headers: dict[str, str] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    answered: int = 0
    counted: int = 0


def measure(bench: Bench) -> list[Figure]:
    """Short rounds, each server in turn, so that all three meet the same minute of the machine."""
    bench.say("row 3: POST /portfolio/recommendations")
    with bench.ledger() as url, bench.database() as plain_url:
        token = _prepare(url, plain_url)
        before = _position(url)
        with running("ledger", url) as ours, running("plain", plain_url) as plain, running("echo", url) as echo:
            sides = {
                "ledger": Side("ledger", *ours, bench.meter(), {"Authorization": f"Bearer {token}"}),
                "plain": Side("plain", *plain, bench.meter()),
                "echo": Side("echo", *echo, bench.meter()),
            }
            _rounds(bench, sides)
        _check_recorded(url, plain_url, before, sides)
    mine = sides["ledger"]

    def used(name: str) -> tuple[float, float]:
        return mine.meter.us(mine.counted), sides[name].meter.us(sides[name].counted)

    detail: dict[str, Any] = {
        "connections": CONNECTIONS,
        "p50_ms": {name: statistics.median(side.p50_ms) for name, side in sides.items()},
        "p99_ms": {name: statistics.median(side.p99_ms) for name, side in sides.items()},
        "server_cpu_us": {name: statistics.median(side.cpu_us) for name, side in sides.items()},
    }
    return [
        beside(
            3,
            what,
            "requests/s",
            mine.rates,
            peer,
            sides[name].rates,
            Target("at least", bound),
            cpu_us=used(name),
            **detail,
        )
        for what, peer, name, bound in (
            ("POST /portfolio/recommendations", "FastAPI + psycopg: INSERT a row and commit", "plain", 2.5),
            ("POST /portfolio/recommendations", "FastAPI that only echoes", "echo", 0.75),
        )
    ]


def _prepare(url: str, plain_url: str) -> str:
    """Read models for our projector to keep, a table for the plain server, and a token."""
    rebuild_outdated(url)
    with psycopg.connect(plain_url, autocommit=True) as conn:
        conn.execute(PLAIN_TABLE)
    return subject(url, "bench", "advisor")


def _rounds(bench: Bench, sides: Mapping[str, Side]) -> None:
    body = orjson.dumps(ASKED)
    with ProcessPoolExecutor(1, mp_context=SPAWN) as generator:
        for number in range(-1, bench.options.rounds):
            seconds = bench.options.seconds if number >= 0 else min(WARM_UP_S, bench.options.seconds)
            for side in sides.values():
                _round(generator, side, body, seconds, counts=number >= 0)


def _round(generator: Executor, side: Side, body: bytes, seconds: float, *, counts: bool) -> None:
    asked = (side.port, side.headers, body, CONNECTIONS, seconds, side.answered)
    before_s = used_s(side.pid)
    with side.meter if counts else nullcontext():
        found = generator.submit(load.run, *asked).result()
    cpu_s = used_s(side.pid) - before_s
    assert set(found.status) == {202}, f"{side.kind} answered {found.status}"
    side.answered += len(found.latencies_ms)
    if counts:
        side.rates.append(found.rate)
        side.p50_ms.append(quantile(found.latencies_ms, 0.5))
        side.p99_ms.append(quantile(found.latencies_ms, 0.99))
        side.cpu_us.append(cpu_s / len(found.latencies_ms) * 1e6)
        side.counted += len(found.latencies_ms)


def _check_recorded(url: str, plain_url: str, before: int, sides: Mapping[str, Side]) -> None:
    """Assert that every 202 is an event after `before`, or a row in the plain table; all name one client, once new."""
    with psycopg.connect(plain_url) as plain:
        inserted = plain.execute("SELECT count(*) FROM requests").fetchone()
    assert _position(url) - before == sides["ledger"].answered + CLIENTS
    assert inserted == (sides["plain"].answered,)


def _position(url: str) -> int:
    with connect(url) as conn:
        row = conn.execute("SELECT position FROM head").fetchone()
    assert row is not None
    return int(row[0])
