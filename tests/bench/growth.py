"""Row 13: the cost of an event in ledgers of 10,000, 100,000, … events, up to --events, side by side.

What is measured is processor time of one server process, in nanoseconds as the kernel counts them: other work on the
machine changes it little. Rounds go from ledger to ledger, so that all see the same machine. The first half of the
rounds is not counted: a server at work has the index pages of its clients in memory, and has changed them since its
last checkpoint.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import LiteralString

import psycopg
import uvloop

from ledger.database import AsyncConnection, Connection, conninfo
from ledger.store import events as store
from ledger.store.envelope import encode
from ledger.tlog.serve import tiles
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.signer import Signer
from ledger.tlog.signing_keys import SigningKey
from projections.engine import LOOK_AFTER_LOOK, look, step
from projections.reads import AsOf
from projections.rebuild import rebuild_outdated
from projections.registry import all_models
from projections.rows import read_rows
from tests.bench import workload
from tests.bench.as_of import LIMIT, OF_CLIENTS
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, Target, beside
from tests.bench.log import STEP

BASE = 10_000
BATCHES, SINGLES, READS = 5, 100, 50
EVENTS = BATCHES * workload.BATCH + SINGLES
TARGET = Target("at most", 1.1)
MULTIPLY = Path(__file__).with_name("multiply.sql").read_bytes()
# Copies in one transaction.
COPIES = 10
SIZE = """
    SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND c.relname = ANY (%s)
"""
RECORDED = ["events", "sealed_fields", "stream_clients", "tiles"]
WORK = (
    "append in batches of 1,000",
    "append of one event",
    "live projection of all read models",
    "page of a client's rows",
    "a client's rows as of a position",
    "tiles of an inclusion proof",
)
WAL = "write-ahead log of an append and its projection"
WRITTEN = "SELECT pg_current_wal_insert_lsn() - '0/0'"


@dataclass(frozen=True)
class Grown:
    """A ledger of so many events at the start of the measurement."""

    url: str
    events: int

    @property
    def clients(self) -> int:
        """How many clients it has."""
        return workload.clients(self.events)


def sizes(most: int) -> list[int]:
    """Powers of ten from BASE to `most`, and `most`. If that is less than twice BASE, a tenth of it, and it."""
    if most < 2 * BASE:
        return [max(1, most // 10), min(most, BASE)]
    found = [BASE]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return [*found, most // BASE * BASE] if found[-1] < most // BASE * BASE else found


def measure(bench: Bench) -> list[Figure]:
    """Fill the ledgers, measure them by turns, and set each beside the smallest."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory(prefix="advice-ledger-bench-") as folder:
        ledgers = []
        for events in sizes(bench.options.events):
            url = stack.enter_context(bench.ledger())
            bench.say(f"row 13: a ledger of {events:,} events")
            fill(bench, url, events)
            sign(url, Path(folder) / str(events))
            ledgers.append(Grown(url, events))
        stored = [_stored(ledger) for ledger in ledgers]
        rounds: list[list[dict[str, float]]] = []
        for number in range(2 * bench.options.rounds):
            bench.say(f"row 13: round {number + 1} of {2 * bench.options.rounds}")
            rounds.append([uvloop.run(_round(ledger, number)) for ledger in ledgers])
        warm = rounds[bench.options.rounds :]
    found = []
    for at, ledger in enumerate(ledgers[1:], 1):
        peer = f"the same at {ledgers[0].events:,} events"
        for what in WORK:
            ours, theirs = ([each[one][what] for each in warm] for one in (at, 0))
            found.append(beside(13, f"{what}, {ledger.events:,} events", "µs", ours, peer, theirs, TARGET))
        ours, theirs = ([each[one][WAL] for each in warm] for one in (at, 0))
        found.append(beside(13, f"{WAL}, {ledger.events:,} events", "bytes/event", ours, peer, theirs))
        for what, (size, first) in zip(
            ("recorded", "read models"), zip(stored[at], stored[0], strict=True), strict=True
        ):
            name = f"{what}: disk for each of {ledger.events:,} events"
            found.append(Figure(13, name, size, "bytes/event", peer, first, size / first, TARGET))
    return found


def fill(bench: Bench, url: str, events: int) -> None:
    """Append BASE events, and copy them behind the end; then read models and statistics, as in a server at work."""
    workload.fill(bench, url, min(events, BASE))
    if events > BASE:
        with connect(url) as conn:
            conn.execute(MULTIPLY)
            starts = [*range(1, events // BASE, COPIES), events // BASE]
            for first, after in pairwise(starts):
                conn.execute("SELECT pg_temp.multiply(%s, %s, %s)", [first, after - 1, workload.clients(BASE)])
    rebuild_outdated(url)
    with connect(url) as conn:
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


def sign(url: str, path: Path) -> None:
    """Sign all events."""
    with connect(url, "signer") as conn:
        [(origin,)] = conn.execute("SELECT origin FROM head").fetchall()
        key = SigningKey.generate(str(origin))
        file = LastSigned(path, None, key.verifier)
        with file.held():
            signer = Signer(conn, key, file)
            while signer.step(STEP) is not None:
                pass


def _stored(ledger: Grown) -> tuple[float, float]:
    """Bytes of each event in the recorded tables, and in all read models, indexes included."""
    with connect(ledger.url) as conn:
        names = [[RECORDED], [[each.name for each in all_models()]]]
        recorded, derived = (conn.execute(SIZE, each).fetchone() for each in names)
    assert recorded is not None
    assert derived is not None
    return float(recorded[0]) / ledger.events, float(derived[0]) / ledger.events


async def _round(ledger: Grown, number: int) -> dict[str, float]:
    """Microseconds of the server's processor time for each event or read, by kind of work; and bytes of WAL."""
    drawn = random.Random(number)
    found: dict[str, float] = {}
    next_request = _one(ledger.url, "SELECT last + 1 FROM stream_numbers WHERE category = 'request-'")
    batches = workload.encoded(next_request, BATCHES * workload.BATCH, ledger.clients)
    names = [workload.client_name(drawn.randrange(ledger.clients)) for _ in range(READS)]
    singles = [[encode(workload.requested(names[at % READS]))] for at in range(SINGLES)]
    written = _one(ledger.url, WRITTEN)
    async with await _connected(ledger.url, "writer") as conn:
        appends = [partial(store.append, conn, lines) for lines in batches]
        found[WORK[0]] = await _spent(conn, appends) / workload.BATCH
        found[WORK[1]] = await _spent(conn, [partial(store.append, conn, line) for line in singles])
    with connect(ledger.url, "projector", synchronous_commit="off", **LOOK_AFTER_LOOK) as projector:
        found[WORK[2]] = _project(projector) / EVENTS
    found[WAL] = (_one(ledger.url, WRITTEN) - written) / EVENTS
    positions = [drawn.randint(1, ledger.events) for _ in range(READS)]
    signed = _one(ledger.url, "SELECT max(size) FROM checkpoints")
    async with await _connected(ledger.url, "reader") as conn:
        found[WORK[3]] = await _spent(conn, [partial(_read, conn, name, None) for name in names])
        past = zip(names, positions, strict=True)
        found[WORK[4]] = await _spent(conn, [partial(_read, conn, name, position) for name, position in past])
        found[WORK[5]] = await _spent(conn, [partial(tiles.inclusion, conn, at, signed) for at in positions])
    return found


async def _connected(url: str, role: str) -> AsyncConnection:
    return await psycopg.AsyncConnection.connect(conninfo(url, role), autocommit=True)


async def _spent(conn: AsyncConnection, calls: Sequence[Callable[[], Awaitable[object]]]) -> float:
    """Call each; return microseconds of the server process for one."""
    before_ns = _used_ns(conn.info.backend_pid)
    for call in calls:
        await call()
    return (_used_ns(conn.info.backend_pid) - before_ns) / len(calls) / 1000


def _project(conn: Connection) -> float:
    """Look and step as the projector does, to the end; return microseconds of the server process."""
    before_ns = _used_ns(conn.info.backend_pid)
    while (found := look(conn, all_models())).touched or found.moved:
        for read_model in found.touched:
            step(conn, read_model)
    return (_used_ns(conn.info.backend_pid) - before_ns) / 1000


def _used_ns(pid: int) -> int:
    """Return the processor time of a process of this machine."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


async def _read(conn: AsyncConnection, client_id: str, position: int | None) -> None:
    for read_model in OF_CLIENTS:
        await read_rows(conn, read_model, {"client_id": client_id}, as_of=AsOf(position), limit=LIMIT)


def _one(url: str, query: LiteralString) -> int:
    with connect(url) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])
