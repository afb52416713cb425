"""The event table, from the request path: append a batch, read a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from ledger.errors import LedgerError, from_database

APPEND = "SELECT position, id, stream, version, recorded_at, hash, replayed FROM append(%s)"
STREAM_TYPES = "SELECT type FROM events WHERE stream = %s ORDER BY version"

AsyncConnection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Where an event stands in the chain. `replayed`: it stood there before this call."""

    position: int
    id: UUID
    stream: str
    version: int
    recorded_at: datetime
    hash: bytes
    replayed: bool


class StoreFailed(LedgerError):
    """The database refused for a reason that is none of the ledger's own: a fault of ours, with its SQLSTATE."""


async def append(conn: AsyncConnection, lines: Sequence[bytes]) -> list[Recorded]:
    """Records all lines (from envelope.encode) or none; a result for each, in order. `conn` is in autocommit mode.

    Raises the errors of ledger.errors; after Unavailable the outcome is not known.
    """
    try:
        async with conn.cursor(binary=True) as cursor:
            await cursor.execute(APPEND, [b"\n".join(lines).decode("utf-8")], prepare=True)
            return [Recorded(*row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise _named(error) from error


async def stream_types(conn: AsyncConnection, stream: str) -> list[str]:
    """The types of a stream's events, in order of version; empty when there is no such stream."""
    cursor = await conn.execute(STREAM_TYPES, [stream], prepare=True)
    return [str(row[0]) for row in await cursor.fetchall()]


def _named(error: psycopg.Error) -> LedgerError:
    found = from_database(error)
    return found if found is not None else StoreFailed(f"the database refused the append (SQLSTATE {error.sqlstate})")
