"""The writer when connections break: what was acknowledged is there once, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import psycopg
import pytest
from psycopg import sql

from ledger import database
from ledger.database import AsyncConnection
from ledger.errors import Unavailable, VersionConflict, from_database
from ledger.store.envelope import NewEvent, encode
from ledger.store.events import Receipt
from ledger.store.writer import Writer
from tests.faults.proxy import Proxy, running
from tests.support import check_chain, connect, eventually, new, requested

PATIENCE_S = 0.6
KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'under-fire' AND datname = current_database()
"""
TOO_LATE_S = 8.0  # callers must be told sooner, also on a busy machine


class CountingWriter(Writer):
    """A writer that counts how often it wanted a connection."""

    attempts = 0

    async def _connected(self) -> AsyncConnection:
        self.attempts += 1
        return await super()._connected()

    async def tries_again(self) -> None:
        """Wait until three more attempts were made."""
        before = self.attempts
        await asyncio.to_thread(eventually, "the writer tries again", lambda: self.attempts >= before + 3)


async def turn() -> None:
    """Let every task run until it waits, so that the writer has taken what was appended first."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def through_proxy(url: str, patience_s: float = 10) -> AsyncIterator[tuple[CountingWriter, Proxy]]:
    """Yield a writer, and the proxy between it and the database."""
    async with running(url) as proxy:
        writer = CountingWriter(database.conninfo(proxy.url, "writer"), patience_s=patience_s)
        await writer.start()
        try:
            yield writer, proxy
        finally:
            await writer.close()


def recorded(url: str) -> list[tuple[int, str]]:
    """Check the chain; return the position and id of each event."""
    with connect(url) as conn:
        return [(row.position, str(row.id)) for row in check_chain(conn)]


def test_a_lost_answer_is_asked_for_again(database_url: str) -> None:
    """When the commit happened and only its answer got lost, the retry is a replay: recorded once, and acknowledged."""
    events = [new("lost-", requested("ann")), new("plain"), new("plain", expected="stream_exists")]

    async def main() -> list[Receipt]:
        async with through_proxy(database_url) as (writer, proxy):
            proxy.answers_to_lose = 2
            rows = await writer.append(events)
            assert proxy.answers_to_lose == 0
            return rows

    rows = asyncio.run(main())
    assert [(row.stream, row.version, row.replayed) for row in rows] == [
        ("lost-1", 1, True),
        ("plain", 1, True),
        ("plain", 2, True),
    ]
    assert recorded(database_url) == [(row.position, str(row.id)) for row in rows]


def test_a_lost_request_is_sent_again(database_url: str) -> None:
    """When a request never reached the database, it is sent again and recorded, as if nothing had happened."""

    async def main() -> list[Receipt]:
        async with through_proxy(database_url) as (writer, proxy):
            proxy.requests_to_lose = 2
            return await writer.append([new("sent", expected="no_stream"), new("sent-")])

    rows = asyncio.run(main())
    assert [row.replayed for row in rows] == [False, False]
    assert len(recorded(database_url)) == 2


def test_a_conflict_is_still_one_after_a_lost_answer(database_url: str) -> None:
    """A group whose answer got lost, and in which one was refused, is settled member by member all the same."""

    async def main() -> list[list[Receipt] | BaseException]:
        async with through_proxy(database_url) as (writer, proxy):
            await writer.append([new("first")])
            proxy.requests_to_lose, proxy.answers_to_lose = 1, 3
            events = [new("good"), new("bad", expected=3), new("good"), new("good")]
            return await asyncio.gather(*(writer.append([event]) for event in events), return_exceptions=True)

    results = asyncio.run(main())
    assert [type(result) for result in results] == [list, VersionConflict, list, list]
    assert len(recorded(database_url)) == 4


def test_a_database_that_is_down_is_unavailable_soon(database_url: str) -> None:
    """Callers are told within their patience, nothing is half done, and the same writer goes on afterwards."""

    async def main() -> tuple[NewEvent, list[Receipt]]:
        async with through_proxy(database_url, PATIENCE_S) as (writer, proxy):
            await writer.append([new("up")])
            await proxy.cut()
            event, began_s = new("down-", requested("ann")), monotonic()
            async with asyncio.timeout(TOO_LATE_S):
                results = await asyncio.gather(*(writer.append([event]) for _ in range(20)), return_exceptions=True)
            assert {type(result) for result in results} == {Unavailable}
            assert monotonic() - began_s >= PATIENCE_S
            await proxy.open()
            return event, await writer.append([event])

    event, (row,) = asyncio.run(main())
    assert (row.id, row.stream, row.replayed) == (event.id, "down-1", False)
    assert len(recorded(database_url)) == 2


def test_a_short_outage_is_not_noticed(database_url: str) -> None:
    """A database that is back within the callers' patience records everything, and no caller sees an error."""

    async def main() -> list[list[Receipt]]:
        async with through_proxy(database_url) as (writer, proxy):
            await writer.append([new("up")])
            await proxy.cut()
            tasks = [asyncio.create_task(writer.append([new("outage", requested("ann"))])) for _ in range(50)]
            await writer.tries_again()
            await proxy.open()
            return await asyncio.gather(*tasks)

    rows = asyncio.run(main())
    assert sorted(row.version for (row,) in rows) == list(range(1, 51))
    assert len(recorded(database_url)) == 51


def test_a_writer_starts_before_its_database(database_url: str) -> None:
    """start() while the database is down is no error, and the first append waits for it."""

    async def main() -> list[Receipt]:
        async with running(database_url) as proxy:
            await proxy.cut()
            writer = CountingWriter(database.conninfo(proxy.url, "writer"), patience_s=10)
            await writer.start()
            task = asyncio.create_task(writer.append([new("early")]))
            await writer.tries_again()
            await proxy.open()
            rows = await task
            await writer.close()
            return rows

    assert asyncio.run(main())[0].position == 1


def test_closing_returns_while_the_database_is_down(database_url: str) -> None:
    """close() does not wait out the patience of callers that cannot be served: they are told, and it returns."""

    async def main() -> None:
        async with through_proxy(database_url, patience_s=60) as (writer, proxy):
            await writer.append([new("up")])
            await proxy.cut()
            tasks = [asyncio.create_task(writer.append([new("closing")])) for _ in range(10)]
            await writer.tries_again()
            async with asyncio.timeout(TOO_LATE_S):
                await writer.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} == {Unavailable}

    asyncio.run(main())
    assert len(recorded(database_url)) == 1


@pytest.mark.parametrize("cause", ["silence", "lock"])
def test_a_database_that_hangs_is_unavailable_soon(database_url: str, cause: str) -> None:
    """While an append hangs, in the network or at a lock, all who wait are told within their patience.

    What was in flight may be recorded later, what was behind it is not; sent again, all of it is there once.
    """
    flying, behind = new("hangs-", requested("ann")), [new("hangs-", requested("bob")) for _ in range(5)]

    async def main() -> list[list[Receipt]]:
        async with through_proxy(database_url, PATIENCE_S) as (writer, proxy):
            await writer.append([new("up")])
            async with hanging(database_url, proxy, cause):
                began_s = monotonic()
                tasks = [asyncio.create_task(writer.append([flying]))]
                await turn()
                tasks += [asyncio.create_task(writer.append([event])) for event in behind]
                async with asyncio.timeout(TOO_LATE_S):
                    results = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(result) for result in results} == {Unavailable}
                assert monotonic() - began_s >= PATIENCE_S
            return await asyncio.gather(*(writer.append([event]) for event in (*behind, flying)))

    rows = asyncio.run(main())
    assert [row.replayed for (row,) in rows] == [False] * 5 + [True]
    assert sorted(row.stream for (row,) in rows) == [f"hangs-{number}" for number in range(1, 7)]
    assert len(recorded(database_url)) == 7


@pytest.mark.parametrize("cause", ["silence", "lock"])
def test_closing_returns_while_the_database_hangs(database_url: str, cause: str) -> None:
    """close() returns once the callers were told, though an append gets no answer at all."""

    async def main() -> None:
        async with through_proxy(database_url, PATIENCE_S) as (writer, proxy):
            await writer.append([new("up")])
            async with hanging(database_url, proxy, cause):
                tasks = [asyncio.create_task(writer.append([new("closing")])) for _ in range(10)]
                await turn()
                async with asyncio.timeout(TOO_LATE_S):
                    await writer.close()
                assert {type(task.exception()) for task in tasks} == {Unavailable}

    asyncio.run(main())


@asynccontextmanager
async def hanging(url: str, proxy: Proxy, cause: str) -> AsyncIterator[None]:
    """Keep every append from being answered while the block runs."""
    if cause == "silence":
        proxy.passing.clear()
        yield
        proxy.passing.set()
    else:
        with connect(url) as conn, conn.transaction():
            conn.execute("SELECT FROM head FOR UPDATE")
            yield


async def hammer(writer: Writer, stop: asyncio.Event, acknowledged: list[Receipt], sent: set[str]) -> None:
    """Append one event after the other until told to stop; sends an event again, as clients do, until it is in."""
    while not stop.is_set():
        event = new("load-", requested("ann")) if len(sent) % 3 else new("load")
        sent.add(str(event.id))
        lines = [encode(event)]
        while True:
            try:
                acknowledged += await writer.append_lines(lines)
                break
            except Unavailable:
                await asyncio.sleep(0)


def test_killed_connections_lose_and_double_nothing(database_url: str) -> None:
    """With the backend ended again and again under load, each acknowledged event is there, and each sent one once."""
    acknowledged: list[Receipt] = []
    sent: set[str] = set()

    async def main() -> None:
        writer = Writer(database.conninfo(database_url, "writer", application="under-fire"))
        await writer.start()
        stop = asyncio.Event()
        clients = [asyncio.create_task(hammer(writer, stop, acknowledged, sent)) for _ in range(16)]
        with connect(database_url) as admin:
            for _ in range(10):
                before = len(acknowledged)
                await asyncio.to_thread(
                    eventually, "more is recorded", lambda before=before: len(acknowledged) > before
                )
                await asyncio.to_thread(eventually, "a session is ended", lambda: admin.execute(KILL).rowcount)
        stop.set()
        await asyncio.gather(*clients)
        await writer.close()

    asyncio.run(main())
    rows = recorded(database_url)
    assert len(acknowledged) > 16
    assert sorted((row.position, str(row.id)) for row in acknowledged) == rows
    assert {identity for _, identity in rows} == sent


def test_lost_answers_under_load_lose_and_double_nothing(database_url: str) -> None:
    """With every other answer lost on its way, all that clients sent is there once, and acknowledged once."""
    acknowledged: list[Receipt] = []
    sent: set[str] = set()

    async def main() -> None:
        async with through_proxy(database_url) as (writer, proxy):
            stop = asyncio.Event()
            clients = [asyncio.create_task(hammer(writer, stop, acknowledged, sent)) for _ in range(16)]
            for _ in range(8):
                proxy.answers_to_lose += 1
                await asyncio.to_thread(eventually, "an answer is lost", lambda: proxy.answers_to_lose == 0)
            stop.set()
            await asyncio.gather(*clients)

    asyncio.run(main())
    rows = recorded(database_url)
    assert any(row.replayed for row in acknowledged)
    assert sorted((row.position, str(row.id)) for row in acknowledged) == rows
    assert {identity for _, identity in rows} == sent


@pytest.mark.parametrize("sqlstate", ["57P01", "57P03", "53300", "08006"])
def test_what_passes_by_itself_is_unavailable(database_url: str, sqlstate: str) -> None:
    """Shutdown, start-up, too many connections and a broken one are all Unavailable, worth another try."""
    with connect(database_url) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute(sql.SQL("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = {}; END $$").format(sql.Literal(sqlstate)))
    found = from_database(caught.value)
    assert type(found) is Unavailable
    assert found.retry_after_s >= 1
