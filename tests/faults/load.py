"""The processes of test_concurrency.py, apart from the tests, so that a process starts fast."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from multiprocessing.synchronize import Barrier
from typing import Any

import psycopg

from ledger import database
from ledger.errors import VersionConflict
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.writer import Writer
from schema.events import PortfolioRequested, RequestFailed

END = "end-of-load"  # the stream whose first event tells the reader to stop
CALLERS = 6  # concurrent callers in each process
PAUSE_S = 0.002
TAIL = "SELECT position, id::text, stream, version, prev_hash, hash FROM events WHERE position > %s ORDER BY position"

_start: Barrier


@dataclass
class Written:
    """The answers to one process: id and position of recorded events, ids of refused ones."""

    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def prepare(start: Barrier) -> None:
    """Set the barrier at which all processes wait for each other; runs first in each process."""
    global _start  # noqa: PLW0603 - a barrier cannot be an argument of a pool's task
    _start = start


def write(url: str, process: int, rounds: int) -> Written:
    """Run the callers of one process. Each appends `rounds` times, to streams of its own and to shared ones."""
    written = Written()

    async def main() -> None:
        writer = Writer(database.conninfo(url, "writer", application=f"writer-{process}"), patience_s=60)
        await writer.start()
        await asyncio.to_thread(_start.wait, 120)
        await asyncio.gather(*(call(writer, f"{process}-{number}", rounds, written) for number in range(CALLERS)))
        await writer.close()

    asyncio.run(main())
    return written


async def call(writer: Writer, name: str, rounds: int, written: Written) -> None:
    """Append to a stream of its own at exact versions, to shared and numbered ones, and to one with conflicts."""
    fought_for = 0
    for number in range(rounds):
        await append(writer, written, event(f"own-{name}", expected=number))
        await append(writer, written, event(f"shared-{number % 3}"), event(f"shared-{number % 2}", client="everybody"))
        await append(writer, written, event("request-", client=name, expected="no_stream"))
        fought_for = await append(writer, written, event(f"own-{name}-b"), event("fought-for", expected=fought_for))


async def append(writer: Writer, written: Written, *events: NewEvent) -> int:
    """Append, and note the outcome. Return the version of the last event; after a conflict, the actual version."""
    try:
        rows = await writer.append(events)
    except VersionConflict as conflict:
        written.refused += [str(refused.id) for refused in events]
        return int(conflict.detail["actual"])
    written.acknowledged += [(row.position, str(row.id)) for row in rows]
    return rows[-1].version


def event(stream: str, *, client: str | None = None, expected: Any = "any") -> NewEvent:
    """Make a small event, with sealed fields if it has a client."""
    fact = RequestFailed(reason="load")
    if client is None:
        return NewEvent(uuid7(), stream, fact, Actor("load", "service", "agent"), expected)
    sealed = PortfolioRequested.model_validate({"client_id": client, "risk_profile": "balanced", "amount_usd": 1})
    return NewEvent(uuid7(), stream, sealed, Actor("load", "service", "agent"), expected)


def tail(url: str) -> tuple[int, list[tuple[int, str]]]:
    """Follow the events by position until END. Return how many reads found new events, and all events.

    Raises AssertionError where a position is missing or repeated, a version skips, or the chain forks.
    """
    seen: list[tuple[int, str]] = []
    versions: dict[str, int] = {}
    link, fresh = None, 0
    pause = threading.Event()  # never set
    with psycopg.connect(database.conninfo(url, "reader"), autocommit=True) as conn:
        _start.wait(120)
        while END not in versions:
            rows = conn.execute(TAIL, [len(seen)]).fetchall()
            fresh += bool(rows)
            for position, identity, stream, version, prev_hash, row_hash in rows:
                assert position == len(seen) + 1, (position, len(seen))
                assert version == versions.get(stream, 0) + 1, (stream, version)
                assert link in {None, prev_hash}, position
                link, versions[stream] = row_hash, version
                seen.append((position, identity))
            pause.wait(PAUSE_S)
    return fresh, seen
