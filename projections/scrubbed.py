"""Add to erasures the time since when their values are out of the files of the database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection, Connection
from projections.erasures.model import ErasureRow

SCRUBBED = Path(__file__).with_name("scrubbed.sql").read_bytes()


class ShownErasure(ErasureRow):
    """An erasure, with the time of the scrub after which no file of the database had its values any more."""

    scrubbed_at: datetime | None = None


async def add_scrubbed(
    conn: AsyncConnection, rows: list[dict[str, Any]], as_of: int | None = None
) -> list[dict[str, Any]]:
    """Return rows of erasures with `scrubbed_at`, as of a position or now."""
    cursor = await conn.execute(SCRUBBED, {"positions": [row["answer_position"] for row in rows], "as_of": as_of})
    found = dict(await cursor.fetchall())
    return [{**row, "scrubbed_at": found.get(row["answer_position"])} for row in rows]


def shown(conn: Connection, rows: Iterable[ErasureRow]) -> list[ShownErasure]:
    """Return erasures with `scrubbed_at`, as of now."""
    erasures = list(rows)
    parameters = {"positions": [row.answer_position for row in erasures], "as_of": None}
    found: dict[int | None, datetime] = dict(conn.execute(SCRUBBED, parameters).fetchall())
    return [ShownErasure(**dict(row), scrubbed_at=found.get(row.answer_position)) for row in erasures]
