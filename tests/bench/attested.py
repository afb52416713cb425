"""Row 15: what it costs that the recording process signs each group that it appends, in batches and one by one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import psycopg
import uvloop

from ledger.database import AsyncConnection, conninfo
from ledger.store import events as store
from ledger.store.envelope import encode
from ledger.store.head import read_head
from ledger.store.recorder import Recorder
from ledger.tlog import recording_keys
from tests.bench.bench import Bench, connect
from tests.bench.cpu import Meter
from tests.bench.figures import Figure, beside
from tests.bench.workload import BATCH, client_name, requested

MOST_BATCHED, MOST_SINGLE = 50_000, 2_000
PEER = "append without attestation"
COUNT = "SELECT count(*) FROM events WHERE type = 'portfolio.requested'"


@dataclass
class Side:
    """One ledger: with a recorder its events are attested. `rates` has events per second, a value a round."""

    url: str
    recorder: Recorder | None
    meter: Meter
    rates: list[float] = field(default_factory=list)
    events: int = 0


def measure(bench: Bench) -> list[Figure]:
    """Two ledgers by turns, of which one has a registered recording key."""
    found = []
    for what, largest, most in (("bulk append", BATCH, MOST_BATCHED), ("one event a commit", 1, MOST_SINGLE)):
        bench.say(f"row 15: {what}, attested")
        size = min(largest, max(1, bench.options.events // bench.options.rounds))
        batches = max(1, min(most, bench.options.events) // bench.options.rounds // size)
        with ExitStack() as stack:
            plain, signed = (Side(stack.enter_context(bench.ledger()), None, bench.meter()) for _ in range(2))
            signed.recorder = _registered(signed.url)
            uvloop.run(_measure([signed, plain], bench.options.rounds, batches, size))
        cpu_us = signed.meter.us(signed.events), plain.meter.us(plain.events)
        found.append(
            beside(15, f"{what}, attested", "events/s", signed.rates, PEER, plain.rates, cpu_us=cpu_us, batch=size)
        )
    return found


def _registered(url: str) -> Recorder:
    """Register a new recording key in a ledger."""
    with tempfile.TemporaryDirectory() as folder, connect(url) as conn, connect(url, "writer") as writer:
        head = read_head(conn)
        assert head is not None
        key = recording_keys.generate(head.origin, Path(folder) / "recording.key")
        recording_keys.register_first(writer, key)
        return recording_keys.recorder(key)


async def _measure(sides: Sequence[Side], rounds: int, batches: int, size: int) -> None:
    for number in range(-1, rounds):
        for side in sides:
            async with await psycopg.AsyncConnection.connect(conninfo(side.url, "writer"), autocommit=True) as conn:
                await _append(conn, side, 1 if number < 0 else batches, size, counts=number >= 0)
    for side in sides:
        with connect(side.url) as conn:
            [(events,)] = conn.execute(COUNT).fetchall()
            assert events == side.events + size, "each side holds every event"


async def _append(conn: AsyncConnection, side: Side, batches: int, size: int, *, counts: bool) -> None:
    """Append events that were encoded before. The first call of a side makes plans, and does not count."""
    groups = [[encode(requested(client_name(number))) for number in range(size)] for _ in range(batches)]
    meter = side.meter if counts else Meter(None)
    with meter:
        began = perf_counter()
        for lines in groups:
            await store.append(conn, lines, recorder=side.recorder)
        took_s = perf_counter() - began
    if counts:
        side.rates.append(batches * size / took_s)
        side.events += batches * size
