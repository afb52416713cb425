"""Run reads written for an asynchronous connection on a blocking one, so that each read is written only once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from ledger.database import AsyncConnection, Connection

T = TypeVar("T")


def read_blocking(conn: Connection, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Return what the reads return. `work` may await queries of its connection, and nothing else."""
    steps = work(cast("AsyncConnection", _Blocking(conn))).__await__()
    try:
        next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("a read for a blocking connection awaits something else than a query")


class _Blocking:
    """The part of an AsyncConnection that reads use. A query is complete when it is awaited."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def cursor(self, **options: Any) -> _Cursor:
        return _Cursor(self._conn.cursor(**options))

    async def execute(self, query: Any, parameters: Any = None, *, prepare: bool | None = None) -> _Cursor:
        return await self.cursor().execute(query, parameters, prepare=prepare)


class _Cursor:
    """The part of an AsyncCursor that reads use."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cursor.close()

    async def execute(self, query: Any, parameters: Any = None, *, prepare: bool | None = None) -> _Cursor:
        self._cursor.execute(query, parameters, prepare=prepare)
        return self

    async def fetchall(self) -> list[Any]:
        found: list[Any] = self._cursor.fetchall()
        return found
