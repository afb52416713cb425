"""Reads of streams in groups: requests at the same time share one query, and each caller gets its own streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from ledger.database import AsyncConnection, conninfo
from ledger.errors import Unavailable
from ledger.store import events, readers
from ledger.store.envelope import uuid7
from ledger.store.readers import Readers
from ledger.store.shared_reads import SharedReads
from tests.support import append, connect, failed, new, requested


def reading(url: str, work: Callable[[Readers], Awaitable[None]]) -> None:
    """Runs `work` with readers of this ledger."""

    async def main() -> None:
        found = Readers(conninfo(url, "reader"), most=2, patience_s=1)
        await found.open()
        try:
            await work(found)
        finally:
            await found.close()

    asyncio.run(main())


def test_streams_are_read_in_groups(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many callers at once cost few queries; each gets the streams it asked for, in its order, also one twice."""
    with connect(database_url) as conn:
        append(conn, *(new(f"s-{n}", requested(f"client-{n}")) for n in range(20)))
        append(conn, *(new(f"s-{n}", failed()) for n in range(0, 20, 2)))
    queries: list[int] = []

    async def counted(conn: AsyncConnection, *names: str) -> list[list[Any]]:
        queries.append(len(names))
        return await events.streams(conn, *names)

    monkeypatch.setattr(readers, "streams", counted)

    async def work(found: Readers) -> None:
        async def one(n: int) -> None:
            mine, none, shared, again = await found.streams(f"s-{n}", "no-such", "s-0", f"s-{n}")
            assert [past.stream for past in mine] == [f"s-{n}"] * (2 - n % 2)
            assert (none, mine, len(shared)) == ([], again, 2)

        await asyncio.gather(*(one(n) for n in range(20)))

    reading(database_url, work)
    assert len(queries) <= 2
    assert sum(queries) <= 40


def test_a_read_sees_what_was_there_when_it_was_asked_for(database_url: str) -> None:
    """A read that joins while a query is in flight is not answered by that query."""

    async def work(found: Readers) -> None:
        for n in range(20):
            first = asyncio.create_task(found.streams("late"))
            await asyncio.sleep(0)
            with connect(database_url) as conn:
                append(conn, new("late"))
            [history] = await found.streams("late")
            assert len(history) == n + 1
            await first

    reading(database_url, work)


def test_more_streams_than_one_query_takes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams beyond the limit go into the next query."""
    monkeypatch.setattr(Readers, "MOST_STREAMS", 3)
    with connect(database_url) as conn:
        append(conn, *(new(f"s-{n}") for n in range(10)))

    async def work(found: Readers) -> None:
        histories = await asyncio.gather(*(found.streams(f"s-{n}") for n in range(10)))
        assert [[past.stream for past in history] for (history,) in histories] == [[f"s-{n}"] for n in range(10)]

    reading(database_url, work)


def test_nobody_waits_for_a_database_that_is_gone(database_url: str) -> None:
    """Everybody in the group is told, and the next one is read again."""

    async def work(found: Readers) -> None:
        await found.close()
        results = await asyncio.gather(*(found.streams(f"s-{n}") for n in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 5

    reading(database_url, work)


def test_events_are_found_in_groups(database_url: str) -> None:
    """Many look-ups at once cost few queries; each caller gets its own event, or None."""
    events_of = [new(f"s-{n}", requested(f"client-{n}")) for n in range(10)]
    with connect(database_url) as conn:
        append(conn, *events_of)
    queries: list[int] = []

    async def find(conn: AsyncConnection, ids: list[UUID]) -> list[Any]:
        queries.append(len(ids))
        return await events.find(conn, ids)

    async def work(found: Readers) -> None:
        wanted = [*(event.id for event in events_of), uuid7()]
        rows = await asyncio.gather(*(found.shared(find, [event_id], most=20) for event_id in wanted))
        assert [row and row[1].stream for (row,) in rows] == [*(event.stream for event in events_of), None]

    reading(database_url, work)
    assert len(queries) <= 2


def test_a_read_in_flight_ends_when_the_readers_close() -> None:
    """Those who share it are cancelled, as are those who wait for the next one."""

    async def main() -> None:
        asked = asyncio.Event()

        async def hangs(_keys: list[str]) -> list[str]:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("it waits for ever")

        reads = SharedReads(hangs, most=1)
        callers = [asyncio.create_task(reads.get([key])) for key in ("in flight", "next")]
        await asked.wait()
        await reads.close()
        done, _ = await asyncio.wait(callers, timeout=5)
        assert [caller.cancelled() for caller in callers if caller in done] == [True, True]

    asyncio.run(main())
