"""Group commit: one caller's events are recorded together, and nobody fails for another's conflict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import pytest
from psycopg import sql

from ledger import database
from ledger.errors import ClientConflict, IdConflict, InvalidEvent, Overloaded, Unavailable, VersionConflict
from ledger.store import writer
from ledger.store.envelope import NewEvent
from ledger.store.events import Receipt
from ledger.store.writer import Writer
from schema.events import RecommendationRecorded
from tests.support import check_chain, connect, failed, fresh_ledger, new, requested

T = TypeVar("T")


@pytest.fixture(scope="module")
def ledger(server_url: str) -> Iterator[str]:
    """A ledger that the tests of this module share."""
    with fresh_ledger(server_url) as url:
        yield url


@asynccontextmanager
async def started(url: str) -> AsyncIterator[Writer]:
    """A writer that is closed in the end."""
    found = Writer(database.conninfo(url, "writer"), patience_s=60)
    await found.start()
    try:
        yield found
    finally:
        await found.close()


def with_writer(url: str, use: Callable[[Writer], Awaitable[T]]) -> T:
    """Run `use` with a writer, and return its result."""

    async def main() -> T:
        async with started(url) as found:
            return await use(found)

    return asyncio.run(main())


def count(url: str, what: str, stream: str) -> int:
    """How many distinct values of a column the events have whose stream begins so."""
    query = sql.SQL("SELECT count(DISTINCT {}) FROM events WHERE starts_with(stream, %s)").format(sql.Identifier(what))
    with connect(url) as conn:
        rows = conn.execute(query, [stream]).fetchall()
    return int(rows[0][0])


@contextmanager
def stalled(url: str) -> Iterator[None]:
    """No append gets through meanwhile: somebody else holds head, as another process would."""
    with connect(url) as conn, conn.transaction():
        conn.execute("SELECT FROM head FOR UPDATE")
        yield


async def queued(found: Writer, *groups: list[NewEvent]) -> list[asyncio.Task[list[Receipt]]]:
    """A task for each group, waiting in the writer in this order."""
    tasks = [asyncio.create_task(found.append(group)) for group in groups]
    for _ in range(10):  # turns of the loop: all wait now, and the writer has taken the first where it was idle
        await asyncio.sleep(0)
    return tasks


def test_concurrent_appends_share_commits(ledger: str) -> None:
    """Many appends at once take far fewer commits than there are events, and every caller gets its own row."""
    events = [new(f"group-a{number}", requested(f"client-{number}")) for number in range(400)]

    async def use(found: Writer) -> list[list[Receipt]]:
        return await asyncio.gather(*(found.append([event]) for event in events))

    rows = with_writer(ledger, use)
    assert [row.id for (row,) in rows] == [event.id for event in events]
    positions = [row.position for (row,) in rows]
    assert positions == list(range(positions[0], positions[0] + 400))
    assert count(ledger, "recorded_at", "group-a") <= 10


def test_a_group_has_a_limit(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit of several callers exceeds the limits; the events of one caller are never split."""
    monkeypatch.setattr(writer, "MAX_GROUP_EVENTS", 10)

    async def use(found: Writer) -> None:
        appends = [found.append([new("limit-a")]) for _ in range(95)]
        await asyncio.gather(*appends, found.append([new("limit-b") for _ in range(30)]))
        monkeypatch.setattr(writer, "MAX_GROUP_BYTES", 1)
        await asyncio.gather(*(found.append([new("limit-c")]) for _ in range(5)))

    with_writer(ledger, use)
    assert 10 <= count(ledger, "recorded_at", "limit-a") < 95
    assert count(ledger, "recorded_at", "limit-b") == 1
    assert count(ledger, "recorded_at", "limit-c") == 5


def test_a_conflict_fails_alone(ledger: str) -> None:
    """In one group, those refused are told why, each by its own class, and all others are recorded."""
    old = new("alone-old", requested("ann"))
    good = [[new(f"alone-good-{number}")] for number in range(6)]
    bad = {
        VersionConflict: [new("alone-bad", expected=5)],
        IdConflict: [new("alone-old", failed(), id=old.id)],
        ClientConflict: [new("alone-old", requested("bob"))],
        InvalidEvent: [new("x" * 201)],
    }

    async def use(found: Writer) -> list[list[Receipt] | BaseException]:
        await found.append([old])
        with stalled(ledger):
            await queued(found, [new("alone-first")])
            tasks = await queued(found, *good[:3], *bad.values(), *good[3:])
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = with_writer(ledger, use)
    assert [type(result) for result in results] == [list, list, list, *bad, list, list, list]
    assert count(ledger, "id", "alone-good-") == 6
    assert count(ledger, "id", "alone-bad") == 0


def test_a_callers_events_stay_together(ledger: str) -> None:
    """When one of a caller's events is refused, none of that caller's is recorded, though its neighbours are."""

    async def use(found: Writer) -> list[list[Receipt] | BaseException]:
        with stalled(ledger):
            await queued(found, [new("together-first")])
            tasks = await queued(
                found,
                [new("together-good"), new("together-good")],
                [new("together-bad"), new("together-bad"), new("together-bad", expected="no_stream")],
                [new("together-good", expected=2)],
            )
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = with_writer(ledger, use)
    assert [type(result) for result in results] == [list, VersionConflict, list]
    assert count(ledger, "id", "together-good") == 3
    assert count(ledger, "id", "together-bad") == 0


def test_one_of_many_opens_a_stream(ledger: str) -> None:
    """If many callers expect no stream, one succeeds and each of the others gets VersionConflict."""

    async def use(found: Writer) -> list[list[Receipt] | BaseException]:
        appends = [found.append([new("race", expected="no_stream")]) for _ in range(30)]
        return await asyncio.gather(*appends, return_exceptions=True)

    results = with_writer(ledger, use)
    assert sorted(type(result).__name__ for result in results) == ["VersionConflict"] * 29 + ["list"]


def test_the_same_event_twice_at_once_is_recorded_once(ledger: str) -> None:
    """A retry that overtakes its first attempt, even in the same group, gets the same row."""
    event = new("twin-", requested("twin"))

    async def use(found: Writer) -> list[list[Receipt]]:
        with stalled(ledger):
            await queued(found, [new("twin-first")])
            tasks = await queued(found, [event], [event], [event])
        return await asyncio.gather(*tasks)

    rows = [row for (row,) in with_writer(ledger, use)]
    assert {row.stream for row in rows} == {"twin-1"}
    assert len({row.position for row in rows}) == 1
    assert sorted(row.replayed for row in rows) == [False, True, True]


def test_appends_are_recorded_as_they_arrive(ledger: str) -> None:
    """Who appended first stands first in the chain."""

    async def use(found: Writer) -> list[list[Receipt]]:
        return await asyncio.gather(*(found.append([new("arrival"), new("arrival")]) for _ in range(50)))

    versions = [row.version for rows in with_writer(ledger, use) for row in rows]
    assert versions == list(range(1, 101))


def test_no_events_are_no_append(ledger: str) -> None:
    """An empty list is answered with one, alone and beside others."""

    async def use(found: Writer) -> list[list[Receipt]]:
        return await asyncio.gather(*map(found.append, ([], [new("beside")], [])))

    assert [len(rows) for rows in with_writer(ledger, use)] == [0, 1, 0]


def test_an_event_that_cannot_be_recorded_takes_its_append_with_it(ledger: str) -> None:
    """An event that encode() refuses raises to the caller, and nothing of that append reaches the database."""
    bad = RecommendationRecorded(recommendation={"a": float("nan")}, model_name="m")

    async def use(found: Writer) -> None:
        with pytest.raises(InvalidEvent) as caught:
            await found.append([new("encode"), new("encode", bad)])
        assert caught.value.field == "recommendation.a"
        await found.append([new("encode")])

    with_writer(ledger, use)
    assert count(ledger, "id", "encode") == 1


def test_a_caller_that_goes_away_loses_nothing(ledger: str) -> None:
    """Cancelled callers' events are recorded all the same, in flight or waiting, and others are not disturbed."""
    events = [new(f"gone-{number}") for number in range(6)]

    async def use(found: Writer) -> None:
        with stalled(ledger):
            tasks = await queued(found, [events[0]])
            tasks += await queued(found, *([event] for event in events[1:]))
            for task in tasks[:4]:
                task.cancel()
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 4 + [list] * 2
        (again,) = await found.append([events[0]])
        assert again.replayed

    with_writer(ledger, use)
    assert count(ledger, "id", "gone-") == 6


def test_close_records_what_is_waiting(ledger: str) -> None:
    """close() answers every caller before it returns; who comes later is told Unavailable."""

    async def main() -> None:
        found = Writer(database.conninfo(ledger, "writer"), patience_s=60)
        await found.start()
        tasks = [asyncio.create_task(found.append([new("closing")])) for _ in range(300)]
        await asyncio.sleep(0)
        await found.close()
        assert all(task.done() for task in tasks)
        assert sorted(rows[0].version for rows in await asyncio.gather(*tasks)) == list(range(1, 301))
        with pytest.raises(Unavailable, match="stopping"):
            await found.append([new("closing")])
        await found.close()

    asyncio.run(main())
    with connect(ledger) as conn:
        rows = conn.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").fetchall()
    assert rows[0][0] == 1


def test_a_writer_that_never_started_closes(ledger: str) -> None:
    """close() without start() returns."""
    asyncio.run(Writer(database.conninfo(ledger, "writer")).close())


def test_too_much_is_refused_and_the_rest_recorded(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound of what may wait, new callers get Overloaded; those before them are recorded, and all is well."""
    monkeypatch.setattr(writer, "MAX_WAITING_BYTES", 4000)

    async def use(found: Writer) -> int:
        with stalled(ledger):
            first = await queued(found, [new("bound")])
            tasks = await queued(found, *([new("bound")] for _ in range(50)))
            refused = [task for task in tasks if task.done()]
            assert 0 < len(refused) < 50
            assert tasks[-len(refused) :] == refused
            assert {type(task.exception()) for task in refused} == {Overloaded}
        accepted = first + [task for task in tasks if task not in refused]
        await asyncio.gather(*accepted)
        await found.append([new("bound")])
        return len(accepted) + 1

    assert with_writer(ledger, use) == count(ledger, "id", "bound")


def test_all_that_was_acknowledged_is_in_the_chain(ledger: str) -> None:
    """Under a mix of groups and conflicts, the rows that callers got are the rows that are there."""

    async def one(found: Writer, number: int) -> list[Receipt]:
        events = [new(f"mix-{number % 7}", expected="any" if number % 3 else number) for _ in range(number % 4 + 1)]
        try:
            return await found.append(events)
        except VersionConflict:
            return []

    async def use(found: Writer) -> list[list[Receipt]]:
        return await asyncio.gather(*(one(found, number) for number in range(300)))

    rows = [row for group in with_writer(ledger, use) for row in group]
    with connect(ledger) as conn:
        chained = {row.position: (row.id, row.version, row.hash) for row in check_chain(conn)}
    assert rows
    assert all(chained[row.position] == (row.id, row.version, row.hash) for row in rows)
    assert len(rows) == count(ledger, "id", "mix-")
