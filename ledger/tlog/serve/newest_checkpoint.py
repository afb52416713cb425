"""Read the newest checkpoint: one query for all callers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ledger.database import AsyncConnection, Connection

NEWEST_CHECKPOINT = Path(__file__).with_name("newest_checkpoint.sql").read_bytes()
NO_LIMIT = 2**63 - 1
NOT_COVERED = Path(__file__).with_name("not_covered.sql").read_bytes()


class NewestCheckpoint(NamedTuple):
    """The size of a checkpoint, the note as it was signed, and its age in seconds."""

    size: int
    note: str
    age_s: float | None


class NotCovered(NamedTuple):
    """The number of events that no checkpoint covers, and the seconds for which they have waited for a signature."""

    events: int
    waiting_s: float


def newest_checkpoint(conn: Connection) -> NewestCheckpoint | None:
    """Return the newest checkpoint; None before the first."""
    row = conn.execute(NEWEST_CHECKPOINT, [NO_LIMIT]).fetchone()
    return None if row is None else NewestCheckpoint(*row)


async def newest_checkpoint_async(conn: AsyncConnection, *, before: int = NO_LIMIT) -> NewestCheckpoint | None:
    """Return the newest checkpoint over fewer events than `before`; None before the first."""
    row = await (await conn.execute(NEWEST_CHECKPOINT, [before], prepare=True)).fetchone()
    return None if row is None else NewestCheckpoint(*row)


def not_covered(conn: Connection) -> NotCovered | None:
    """Return the events that no checkpoint covers; None if the ledger has no head."""
    row = conn.execute(NOT_COVERED, [NO_LIMIT]).fetchone()
    return None if row is None else NotCovered(*row)


async def not_covered_async(conn: AsyncConnection, *, upto: int = NO_LIMIT) -> NotCovered | None:
    """Return the events that no checkpoint up to this size covers; None if the ledger has no head."""
    row = await (await conn.execute(NOT_COVERED, [upto], prepare=True)).fetchone()
    return None if row is None else NotCovered(*row)


def newest_size(conn: Connection) -> int:
    """Return the size of the newest checkpoint; 0 before the first."""
    checkpoint = newest_checkpoint(conn)
    return 0 if checkpoint is None else checkpoint.size
