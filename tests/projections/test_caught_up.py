"""A consistent read waits for the events that change what it reads, and for no others."""

from __future__ import annotations

import asyncio

import pytest

from ledger.database import AsyncConnection
from ledger.errors import Unavailable
from ledger.service.accesses import Access, record_now
from projections.accesses.model import ACCESSES
from projections.engine import step
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.reads import MOST_LOOKED_AT, wait_until_caught_up
from tests.support import append, connect, failed, new, requested

ACCESS = Access("advisor", "advisor", "read", "GET /portfolio/requests/{request_id}")


async def waited(conn: AsyncConnection, *, upto: int | None = None) -> int:
    """The position that a read of requests waits for, without patience."""
    return await wait_until_caught_up(conn, PORTFOLIO_REQUESTS, patience_s=0, upto=upto)


async def check_waiting(database_url: str) -> None:
    """Record reads and changes of requests, and read after each."""
    with connect(database_url) as conn, connect(database_url, "writer") as writer:
        async with await AsyncConnection.connect(database_url, autocommit=True) as reader:
            append(conn, new("request-", requested()))
            with connect(database_url, "projector") as projector:
                for read_model in (PORTFOLIO_REQUESTS, ACCESSES):
                    step(projector, read_model)
            head = await waited(reader)
            record_now(writer, ACCESS, [1], 1, None)
            assert await waited(reader) == head + 1
            with pytest.raises(Unavailable, match="accesses is behind"):
                await wait_until_caught_up(reader, ACCESSES, patience_s=0)
            append(conn, new("request-1", failed()))
            record_now(writer, ACCESS, [1], 1, None)
            with pytest.raises(Unavailable, match="portfolio_requests is behind"):
                await waited(reader)
            assert await waited(reader, upto=head + 1) == head + 1
            with connect(database_url, "projector") as projector:
                step(projector, PORTFOLIO_REQUESTS)
            assert await waited(reader) == head + 3
            for _ in range(MOST_LOOKED_AT + 1):
                record_now(writer, ACCESS, [1], 1, None)
            with pytest.raises(Unavailable, match="portfolio_requests is behind"):
                await waited(reader)


def test_only_events_that_change_rows_are_waited_for(database_url: str) -> None:
    """Nobody projects. Records of reads are not waited for; an event of a request is, wherever it stands among them.

    The read model of the records themselves is waited for. Many events are not looked through.
    """
    asyncio.run(check_waiting(database_url))


async def check_another_version(database_url: str) -> None:
    """Read a table of another version after a record of a read."""
    with connect(database_url) as conn, connect(database_url, "writer") as writer:
        async with await AsyncConnection.connect(database_url, autocommit=True) as reader:
            with connect(database_url, "projector") as projector:
                step(projector, PORTFOLIO_REQUESTS)
            await waited(reader)
            record_now(writer, ACCESS, [1], 1, None)
            conn.execute("UPDATE projections SET digest = 'another' WHERE name = 'portfolio_requests'")
            with pytest.raises(Unavailable, match="is behind"):
                await waited(reader)


def test_a_table_of_another_version_is_waited_for(database_url: str) -> None:
    """Another version's fold may read other events: its table has to have passed them all."""
    asyncio.run(check_another_version(database_url))
