"""The event table, from the request path: append a batch, read a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row

from ledger.database import AsyncConnection
from ledger.domain.history import Past
from ledger.errors import LedgerError, from_database

APPEND = "SELECT position, id, stream, version, recorded_at, hash, replayed FROM append(%s)"
STREAMS = (
    "SELECT position, id, stream, version, type, body FROM events WHERE stream = ANY (%s) ORDER BY stream, version"
)
LOCATE = "SELECT stream, type, id FROM events WHERE position = %s"
FIND = (
    "SELECT e.position, e.id, e.stream, e.version, e.recorded_at, e.hash, e.type, e.body, s.fields::text"
    " FROM events e LEFT JOIN sealed_fields s USING (position) WHERE e.id = %s"
)
SEALED = "SELECT fields::text FROM sealed_fields WHERE position = %s"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an event stands in the chain. `replayed`: it stood there before this call."""

    position: int
    id: UUID
    stream: str
    version: int
    recorded_at: datetime
    hash: bytes
    replayed: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A recorded event with its sealed values, those that were not erased."""

    at: Receipt
    type: str
    body: dict[str, Any]
    fields: dict[str, Any]


class StoreFailed(LedgerError):
    """The database refused for a reason that is none of the ledger's own: a fault of ours, with its SQLSTATE."""


async def append(conn: AsyncConnection, lines: Sequence[bytes]) -> list[Receipt]:
    """Records all lines (from envelope.encode) or none; a result for each, in order. `conn` is in autocommit mode.

    Raises the errors of ledger.errors; after Unavailable the outcome is not known.
    """
    try:
        async with conn.cursor(binary=True) as cursor:
            await cursor.execute(APPEND, [b"\n".join(lines).decode("utf-8")], prepare=True)
            return [Receipt(*row) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise _named(error) from error


async def streams(conn: AsyncConnection, *names: str) -> list[list[Past]]:
    """The events of each stream, in order of version; empty where there is no such stream."""
    async with conn.cursor(row_factory=class_row(Past)) as cursor:
        await cursor.execute(STREAMS, [list(names)], prepare=True)
        found: dict[str, list[Past]] = {name: [] for name in names}
        for past in await cursor.fetchall():
            found[past.stream].append(past)
    return [found[name] for name in names]


async def locate(conn: AsyncConnection, position: int) -> tuple[str, str, UUID] | None:
    """Stream, type and id of the event at a position, or None."""
    return await (await conn.execute(LOCATE, [position], prepare=True)).fetchone()


async def find(conn: AsyncConnection, event_id: UUID) -> Found | None:
    """The event with this id, or None."""
    row = await (await conn.execute(FIND, [event_id], prepare=True)).fetchone()
    if row is None:
        return None
    position, found_id, stream, version, recorded_at, hash_, kind, body, fields = row
    at = Receipt(position, found_id, stream, version, recorded_at, hash_, replayed=True)
    return Found(at, kind, orjson.loads(body), orjson.loads(fields or "{}"))


async def sealed(conn: AsyncConnection, position: int) -> dict[str, Any]:
    """The sealed values of an event; empty where it has none, or they were erased."""
    row = await (await conn.execute(SEALED, [position], prepare=True)).fetchone()
    found: dict[str, Any] = {} if row is None else orjson.loads(row[0])
    return found


def _named(error: psycopg.Error) -> LedgerError:
    found = from_database(error)
    return found if found is not None else StoreFailed(f"the database refused the append (SQLSTATE {error.sqlstate})")
