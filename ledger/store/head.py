"""Read the head of the chain, and the position at a given time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ledger.database import AsyncConnection, Connection

SQL = Path(__file__).parent / "sql"
HEAD, POSITION_AT, CLOCKS, IS_OVER = (
    (SQL / f"{name}.sql").read_bytes() for name in ("head", "position_at", "clocks", "is_over")
)
CLOCK = "SELECT clock_timestamp()"


class Head(NamedTuple):
    """The name of a ledger, and the position, hash and time of its last event; position 0 before the first event."""

    origin: str
    position: int
    hash: bytes
    recorded_at: datetime | None


class Clocks(NamedTuple):
    """The database's clock in seconds since 1970. `ahead_s`: how far the last event is ahead of it, if it is.

    Recorded times never go back. So all events from position `since` on have the same time until the clock has caught
    up.
    """

    now_s: float
    ahead_s: float | None
    since: int | None

    def __str__(self) -> str:
        return (
            f"the last event is {self.ahead_s or 0:.0f} s ahead of the database's clock, so times stand still since"
            f" position {self.since}: the clock was ahead, and was corrected"
        )


def read_clocks(conn: Connection) -> Clocks | None:
    """Compare the last event with the database's clock; None without a head."""
    row = conn.execute(CLOCKS).fetchone()
    return None if row is None else Clocks(*row)


async def read_clocks_async(conn: AsyncConnection) -> Clocks | None:
    """Compare the last event with the database's clock, as `read_clocks()` does."""
    row = await (await conn.execute(CLOCKS, prepare=True)).fetchone()
    return None if row is None else Clocks(*row)


async def database_time(conn: AsyncConnection) -> datetime:
    """Return the time by the database's clock, by which deadlines of people and days of inputs are judged."""
    row = await (await conn.execute(CLOCK)).fetchone()
    assert row is not None, "it is one row"
    at: datetime = row[0]
    return at.astimezone(UTC)


def read_head(conn: Connection) -> Head | None:
    """Return the head; None if the ledger has none. Any member may be NULL if somebody tampered with it."""
    row = conn.execute(HEAD).fetchone()
    return None if row is None else Head(*row)


async def read_head_async(conn: AsyncConnection) -> Head | None:
    """Return the head, as `read_head()` does."""
    row = await (await conn.execute(HEAD, prepare=True)).fetchone()
    return None if row is None else Head(*row)


def position_at(conn: Connection, moment: datetime) -> int:
    """Return the position of the last event that was recorded at `moment` or before; 0 if there is none."""
    row = conn.execute(POSITION_AT, [moment]).fetchone()
    return int(row[0]) if row else 0


async def position_at_async(conn: AsyncConnection, moment: datetime) -> int:
    """Return the position, as `position_at()` does."""
    row = await (await conn.execute(POSITION_AT, [moment], prepare=True)).fetchone()
    return int(row[0]) if row else 0


async def last_before_async(conn: AsyncConnection, moment: datetime) -> int | None:
    """Return a position after which no event is recorded before `moment`, ever; None while one may still be.

    `conn` is in autocommit mode: the position is read after the database has told that the time is over.
    """
    row = await (await conn.execute(IS_OVER, {"moment": moment}, prepare=True)).fetchone()
    head = await read_head_async(conn) if row is not None and row[0] else None
    return None if head is None else head.position
