"""A pool of connections for reading, in the role reader. It survives restarts of the database."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import psycopg
import psycopg_pool

from ledger.database import AsyncConnection, fix_session
from ledger.domain.history import RecordedEvent
from ledger.errors import Unavailable, is_operational
from ledger.store.events import streams

T = TypeVar("T")

# The server cancels a read after this time. This process waits a little longer, to receive the error.
STATEMENT_TIMEOUT_S = 30
LONGEST_S = STATEMENT_TIMEOUT_S + 5.0

# The errors of a database that is not migrated, or not to the version that this program needs.
NOT_MIGRATED = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InsufficientPrivilege,
)


class Readers:
    """Run reads. A read that loses its connection is tried again: it changes nothing."""

    TRIES = 3
    # The most streams that one query reads.
    MOST_STREAMS = 500

    def __init__(self, conninfo: str, *, most: int, patience_s: float) -> None:
        self._patience_s = patience_s
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._queue: deque[tuple[tuple[str, ...], asyncio.Future[list[list[RecordedEvent]]]]] = deque()
        self._queue_task: asyncio.Task[None] | None = None
        self._pool: psycopg_pool.AsyncConnectionPool[AsyncConnection] = psycopg_pool.AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=most,
            open=False,
            timeout=patience_s,
            kwargs={"autocommit": True},
            configure=fix_session,
            reconnect_timeout=patience_s,
        )

    async def open(self) -> None:
        """Start to connect. A database that is down now is not an error."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections. Waiting reads of streams are cancelled."""
        if self._queue_task is not None:
            self._queue_task.cancel()
            await asyncio.wait({self._queue_task})
        for _, result in self._queue:
            result.cancel()
        await self._pool.close()

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]], *, within_s: float = LONGEST_S) -> T:
        """Return the result of `work` on a connection. Raises Unavailable if the database does not answer in time."""
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
            raise Unavailable("the read took too long; read less at once, for example one client") from error
        except NOT_MIGRATED as error:
            raise Unavailable("this database has no ledger, or an older one: run advice-ledger migrate") from error

    async def run_short(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return the result of a command's short queries. Raises Unavailable after `patience_s` seconds."""
        return await self.run(work, within_s=self._patience_s)

    async def streams(self, *names: str) -> list[list[RecordedEvent]]:
        """Return the events of each stream, read after this call began. Raises Unavailable after `patience_s` seconds.

        Calls that come while a query is in flight share the next one, as appends share a batch.
        """
        result: asyncio.Future[list[list[RecordedEvent]]] = asyncio.get_running_loop().create_future()
        self._queue.append((names, result))
        if self._queue_task is None or self._queue_task.done():
            self._queue_task = asyncio.create_task(self._read_queue())
        return await result

    async def _read_queue(self) -> None:
        while self._queue:
            group = []
            names: dict[str, None] = {}
            while self._queue and len(names) < self.MOST_STREAMS:
                group.append(self._queue.popleft())
                names |= dict.fromkeys(group[-1][0])
            try:
                histories = await self.run_short(partial(_streams, list(names)))
            except Exception as error:  # noqa: BLE001 - those who wait would wait for ever
                for _, result in group:
                    if not result.done():
                        result.set_exception(error)
                continue
            by_name = dict(zip(names, histories, strict=True))
            for wanted, result in group:
                if not result.done():  # a caller may have been cancelled
                    result.set_result([by_name[name] for name in wanted])

    async def _run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        for left in reversed(range(self.TRIES)):
            try:
                async with self._pool.connection() as conn:
                    return await work(conn)
            except psycopg.errors.QueryCanceled:
                raise
            except psycopg.Error as error:
                if not is_operational(error):
                    raise
                if not left or isinstance(error, psycopg_pool.PoolTimeout):
                    raise Unavailable("the database does not answer; try again") from error
                await self._replace(error)
        raise AssertionError("the last try returns or raises")

    async def _replace(self, error: psycopg.Error) -> None:
        """Replace broken connections before the next try. The others broke at the same moment, or are stale too."""
        if isinstance(error, psycopg.OperationalError):
            await self._pool.check()
        else:
            await self._pool.drain()

    def _abandon(self, task: asyncio.Task[T]) -> None:
        """Cancel a read that hangs, without waiting: psycopg may need ten seconds for it."""
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.cancel()

    async def fetch_one(self, query: str, parameters: Sequence[object]) -> tuple[Any, ...] | None:
        """Return the first row of a short query, or None. Raises Unavailable after `patience_s` seconds."""

        async def work(conn: AsyncConnection) -> tuple[Any, ...] | None:
            cursor = await conn.execute(query.encode(), parameters, prepare=True)
            return await cursor.fetchone()

        return await self.run_short(work)


async def _streams(names: list[str], conn: AsyncConnection) -> list[list[RecordedEvent]]:
    return await streams(conn, *names)
