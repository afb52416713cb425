"""A pool of connections for reading, in the role reader. It survives restarts of the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

import psycopg
import psycopg_pool

from ledger.database import AsyncConnection, fix_session
from ledger.domain.history import RecordedEvent
from ledger.errors import Unavailable, is_operational
from ledger.store.events import streams
from ledger.store.shared_reads import SharedReads

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

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
        # By the function that reads.
        self._shared: dict[Callable[..., Any], SharedReads[Any, Any]] = {}
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
        """Close all connections. Waiting shared reads are cancelled."""
        for reads in self._shared.values():
            await reads.close()
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
        return await self.shared(_streams, names, most=self.MOST_STREAMS)

    async def shared(
        self, read: Callable[[AsyncConnection, list[K]], Awaitable[Sequence[T]]], keys: Sequence[K], *, most: int
    ) -> list[T]:
        """Return the values of these keys by a short query, which calls at the same time share, as those of streams.

        `read` is a function of a module: it names the kind of read, and returns a value for each key, in order.
        """
        reads = self._shared.get(read)
        if reads is None:
            reads = self._shared[read] = SharedReads(lambda found: self.run_short(lambda conn: read(conn, found)), most)
        return await reads.get(keys)

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


async def _streams(conn: AsyncConnection, names: list[str]) -> list[list[RecordedEvent]]:
    return await streams(conn, *names)
