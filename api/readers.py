"""Connections for reading: a pool with the role reader, that outlives restarts of the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
import psycopg_pool

from ledger.errors import Unavailable
from ledger.store import AsyncConnection

T = TypeVar("T")


class Readers:
    """Runs reads. A read is safe to run again, so a connection that broke costs a second try, not an error."""

    TRIES = 3

    def __init__(self, conninfo: str, *, most: int, patience_s: float) -> None:
        self._pool: psycopg_pool.AsyncConnectionPool[AsyncConnection] = psycopg_pool.AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=most,
            open=False,
            timeout=patience_s,
            kwargs={"autocommit": True},
            reconnect_timeout=patience_s,
        )

    async def open(self) -> None:
        """Starts connecting; a database that is down now is no error."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Closes all connections."""
        await self._pool.close()

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """The result of `work` on some connection. Raises Unavailable when the database does not answer."""
        for left in reversed(range(self.TRIES)):
            try:
                async with self._pool.connection() as conn:
                    return await work(conn)
            except psycopg.errors.QueryCanceled as error:
                raise Unavailable("the read took too long; ask for less, for example for one client") from error
            except (psycopg.OperationalError, psycopg_pool.PoolTimeout) as error:
                if not left or isinstance(error, psycopg_pool.PoolTimeout):
                    raise Unavailable("the database does not answer; try again") from error
                await self._pool.check()  # others broke at the same moment: replace them before the next try
        raise AssertionError("the last try returns or raises")

    async def fetch_one(self, query: str, given: Sequence[object]) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""

        async def work(conn: AsyncConnection) -> tuple[Any, ...] | None:
            cursor = await conn.execute(query.encode(), given, prepare=True)
            return await cursor.fetchone()

        return await self.run(work)
