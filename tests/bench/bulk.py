"""Row 1: bulk append beside plain COPY of the same rows into identically indexed tables, both in commits of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import LiteralString

import psycopg
import uvloop

from ledger.database import AsyncConnection, Connection, conninfo
from ledger.store import events as store
from ledger.store.envelope import NewEvent, encode
from tests.bench.bench import Bench, connect
from tests.bench.cpu import Meter
from tests.bench.figures import Figure, Target, beside
from tests.bench.workload import BATCH, client_name, noted, requested

MOST_EVENTS = 200_000
TARGET = Target("at least", 0.45)
ENCODED = Target("at least", 0.30)

# LIKE takes checks, indexes and storage along, and leaves the triggers: COPY enters where append() would.
TABLES: dict[str, tuple[LiteralString, LiteralString, LiteralString]] = {
    "events": (
        "CREATE TABLE copied.events (LIKE events INCLUDING ALL)",
        "COPY (SELECT * FROM events WHERE position BETWEEN %s AND %s ORDER BY position) TO STDOUT",
        "COPY copied.events FROM STDIN",
    ),
    "sealed_fields": (
        "CREATE TABLE copied.sealed_fields (LIKE sealed_fields INCLUDING ALL)",
        "COPY (SELECT * FROM sealed_fields WHERE position BETWEEN %s AND %s ORDER BY position) TO STDOUT",
        "COPY copied.sealed_fields FROM STDIN",
    ),
    "stream_clients": (
        "CREATE TABLE copied.stream_clients (LIKE stream_clients INCLUDING ALL)",
        (
            "COPY (SELECT c.* FROM events e JOIN stream_clients c USING (stream)"
            " WHERE e.position BETWEEN %s AND %s AND e.version = 1 ORDER BY e.position) TO STDOUT"
        ),
        "COPY copied.stream_clients FROM STDIN",
    ),
}


@dataclass
class Rounds:
    """Events per second, a value a round."""

    append_cpu: Meter
    copy_cpu: Meter
    append: list[float] = field(default_factory=list)
    append_with_encode: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)
    events: int = 0
    body_bytes: float = 0
    encode_cpu_s: float = 0


def measure(bench: Bench) -> list[Figure]:
    """Two variants: events without sealed fields, and with one (which also adds a row to each side table)."""
    found = []
    for name, make, tables in (
        ("no sealed field", noted, ("events",)),
        ("one sealed field", _requested, ("events", "sealed_fields", "stream_clients")),
    ):
        bench.say(f"row 1: bulk append, {name}")
        rounds = uvloop.run(_measure(bench, make, tables))
        detail = {"mean_body_bytes": round(rounds.body_bytes), "tables": tables}
        peer = f"COPY into {' + '.join(tables)}"
        what = f"bulk append, {name}"
        whole_us, copy_us = rounds.append_cpu.us(rounds.events), rounds.copy_cpu.us(rounds.events)
        encode_us = rounds.encode_cpu_s / rounds.events * 1e6
        for named, ours, target, cpu_us in (
            (what, rounds.append, TARGET, whole_us - encode_us),
            (f"{what}, with encode()", rounds.append_with_encode, ENCODED, whole_us),
        ):
            found.append(
                beside(1, named, "events/s", ours, peer, rounds.copy, target, cpu_us=(cpu_us, copy_us), **detail)
            )
    return found


def _requested(number: int) -> NewEvent:
    return requested(client_name(number // 10))


async def _measure(bench: Bench, make: Callable[[int], NewEvent], tables: tuple[str, ...]) -> Rounds:
    """Append some batches, COPY the rows that came of them elsewhere, and so on: drift hits both sides."""
    options = bench.options
    events = min(options.events, MOST_EVENTS)
    batch = min(BATCH, max(1, events // options.rounds))
    batches = max(1, events // options.rounds // batch)
    rounds = Rounds(bench.meter(), bench.meter())
    with bench.ledger() as url, connect(url) as copier:
        copier.execute("CREATE SCHEMA copied")
        for table in tables:
            copier.execute(TABLES[table][0])
        async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as writer:
            await store.append(writer, [encode(make(number)) for number in range(batch)])  # the first call plans
            done = batch
            for _ in range(options.rounds):
                numbers = range(done, done + batches * batch)
                await _append(writer, [make(number) for number in numbers], batch, rounds)
                _copy(copier, tables, numbers, batch, rounds)
                done += len(numbers)
                rounds.events += len(numbers)
        row = copier.execute("SELECT avg(octet_length(body)), count(*) FROM events").fetchone()
        copied = copier.execute("SELECT count(*) FROM copied.events").fetchone()
    assert row is not None
    assert copied is not None
    assert row[1] == done == copied[0] + batch, "both sides hold every event"
    rounds.body_bytes = float(row[0])
    return rounds


async def _append(writer: AsyncConnection, events: list[NewEvent], batch: int, rounds: Rounds) -> None:
    encoding = appending = 0.0
    with rounds.append_cpu:
        for start in range(0, len(events), batch):
            cpu_s, started = process_time(), perf_counter()
            lines = [encode(new) for new in events[start : start + batch]]
            between = perf_counter()
            rounds.encode_cpu_s += process_time() - cpu_s
            recorded = await store.append(writer, lines)
            ended = perf_counter()
            assert not recorded[-1].replayed
            encoding += between - started
            appending += ended - between
    rounds.append.append(len(events) / appending)
    rounds.append_with_encode.append(len(events) / (encoding + appending))


def _copy(conn: Connection, tables: tuple[str, ...], numbers: range, batch: int, rounds: Rounds) -> None:
    """Rows of event number n are at position n + 1. They are read outside the time taken."""
    batches = [
        [(table, _read(conn, table, start + 1, start + batch)) for table in tables] for start in numbers[::batch]
    ]
    with rounds.copy_cpu:
        started = perf_counter()
        for rows in batches:
            with conn.transaction(), conn.cursor() as cursor:
                for table, text in rows:
                    with cursor.copy(TABLES[table][2]) as copy:
                        copy.write(text)
        took = perf_counter() - started
    rounds.copy.append(len(numbers) / took)


def _read(conn: Connection, table: str, first: int, last: int) -> bytes:
    with conn.cursor().copy(TABLES[table][1], [first, last]) as copy:
        return b"".join(bytes(block) for block in copy)
