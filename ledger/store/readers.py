"""Connections for reading: a pool with the role reader, that outlives restarts of the database."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
import psycopg_pool

from ledger.database import AsyncConnection
from ledger.domain.history import RecordedEvent
from ledger.errors import LedgerError, Unavailable
from ledger.store.events import streams

T = TypeVar("T")

# The server ends a read after this long by itself, and we wait a little longer for it to say so.
STATEMENT_TIMEOUT_S = 30
LONGEST_S = STATEMENT_TIMEOUT_S + 5.0

# What a database says that was not migrated, or not as far as this program.
NOT_MIGRATED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
)


class Readers:
    """Runs reads. A read is safe to run again, so a connection that broke costs a second try, not an error."""

    TRIES = 3
    # So many streams are read in one query.
    MOST_STREAMS = 500

    def __init__(self, conninfo: str, *, most: int, patience_s: float) -> None:
        self._patience_s = patience_s
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._looking: deque[tuple[tuple[str, ...], asyncio.Future[list[list[RecordedEvent]]]]] = deque()
        self._looks: asyncio.Task[None] | None = None
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
        """Closes all connections. Who still waits for a read is told that there will be none."""
        if self._looks is not None:
            self._looks.cancel()
            await asyncio.wait({self._looks})
        for _, asked in self._looking:
            asked.cancel()
        await self._pool.close()

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]], *, within_s: float = LONGEST_S) -> T:
        """The result of `work` on some connection. Raises Unavailable when the database does not answer in time."""
        task = asyncio.create_task(self._run(work))
        try:
            await asyncio.wait({task}, timeout=within_s)
        finally:
            if not task.done():
                self._abandon(task)
        if not task.done():
            raise Unavailable("the database does not answer; try again")
        try:
            return task.result()
        except psycopg.errors.QueryCanceled as error:
            raise Unavailable("the read took too long; ask for less, for example for one client") from error
        except NOT_MIGRATED as error:
            raise Unavailable("this database has no ledger, or an older one: run advice-ledger migrate") from error

    async def streams(self, *names: str) -> list[list[RecordedEvent]]:
        """The events of these streams, as they are after this was called. Raises Unavailable.

        As appends are written, so these are read: what is asked for while a query is in flight goes into the next one.
        """
        asked: asyncio.Future[list[list[RecordedEvent]]] = asyncio.get_running_loop().create_future()
        self._looking.append((names, asked))
        if self._looks is None or self._looks.done():
            self._looks = asyncio.create_task(self._look())
        return await asked

    async def _look(self) -> None:
        while self._looking:
            group = []
            names: dict[str, None] = {}
            while self._looking and len(names) < self.MOST_STREAMS:
                group.append(self._looking.popleft())
                names |= dict.fromkeys(group[-1][0])
            try:
                histories = await self.run(partial(_streams, list(names)))
            except LedgerError as error:
                for _, asked in group:
                    if not asked.done():
                        asked.set_exception(error)
                continue
            found = dict(zip(names, histories, strict=True))
            for wanted, asked in group:
                if not asked.done():  # whoever asked may have gone away
                    asked.set_result([found[name] for name in wanted])

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        for left in reversed(range(self.TRIES)):
            try:
                async with self._pool.connection() as conn:
                    return await work(conn)
            except psycopg.errors.QueryCanceled:
                raise
            except psycopg.OperationalError as error:
                if not left or isinstance(error, psycopg_pool.PoolTimeout):
                    raise Unavailable("the database does not answer; try again") from error
                await self._pool.check()  # others broke at the same moment: replace them before the next try
        raise AssertionError("the last try returns or raises")

    def _abandon(self, task: asyncio.Task[T]) -> None:
        """Ends a read that hangs, which may take psycopg ten seconds; nobody waits for it."""
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.cancel()

    async def fetch_one(self, query: str, given: Sequence[object]) -> tuple[Any, ...] | None:
        """The first row of a query that should be quick, or None. Raises Unavailable when it is not."""

        async def work(conn: AsyncConnection) -> tuple[Any, ...] | None:
            cursor = await conn.execute(query.encode(), given, prepare=True)
            return await cursor.fetchone()

        return await self.run(work, within_s=self._patience_s)


async def _streams(names: list[str], conn: AsyncConnection) -> list[list[RecordedEvent]]:
    return await streams(conn, *names)
