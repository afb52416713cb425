"""Orphans: model calls that were started and have not ended, by the clock of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from psycopg.rows import class_row

from ledger.database import AsyncConnection, Connection

HERE = Path(__file__).parent
OPEN_CALLS, ORPHANS = ((HERE / f"{name}.sql").read_bytes() for name in ("open_calls", "orphans"))


class OpenCalls(NamedTuple):
    """The number of orphans, the number of open calls, and the age of the oldest open call in seconds."""

    orphans: int
    open: int
    oldest_s: float


@dataclass(frozen=True)
class Orphan:
    """A model call without an end. `request_id` is None if it belongs to no request."""

    id: int
    request_id: int | None
    agent: str
    model: str
    created_at: datetime
    age_s: int


def count_open_calls(conn: Connection, after_s: float) -> OpenCalls:
    """Count open calls; those that have been open for at least `after_s` are orphans."""
    return OpenCalls(*conn.execute(OPEN_CALLS, {"after_s": after_s}).fetchall()[0])


async def count_open_calls_async(conn: AsyncConnection, after_s: float) -> OpenCalls:
    """Count open calls, as `count_open_calls()` does."""
    cursor = await conn.execute(OPEN_CALLS, {"after_s": after_s}, prepare=True)
    return OpenCalls(*(await cursor.fetchall())[0])


def list_orphans(conn: Connection, after_s: float) -> list[Orphan]:
    """Return the calls that have been open for at least `after_s`, the oldest first."""
    with conn.cursor(row_factory=class_row(Orphan)) as cursor:
        return cursor.execute(ORPHANS, {"after_s": after_s}).fetchall()
