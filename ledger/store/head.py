"""The head of the chain, and the position that belongs to a time: one query for each question."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ledger.database import AsyncConnection, Connection

SQL = Path(__file__).parent / "sql"
HEAD, POSITION_AT = ((SQL / f"{name}.sql").read_bytes() for name in ("head", "position_at"))


class Head(NamedTuple):
    """The name of a ledger, and the position, hash and time of its last event; position 0 before the first event."""

    origin: str
    position: int
    hash: bytes
    recorded_at: datetime | None


def read_head(conn: Connection) -> Head | None:
    """Return the head; None if the ledger has none. Somebody who tampered may have set any member to NULL."""
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
