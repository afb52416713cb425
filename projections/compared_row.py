"""Read one row of a read model, and compare it with what folding its stream gives, before it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from psycopg import sql

from ledger.database import AsyncConnection
from ledger.store.snapshot import snapshot_with
from projections.read_model import ReadModel
from projections.reads import AsOf
from projections.rows import read_rows
from projections.shown import refuse

# Planning a fold takes longer than running it for one stream.
PLANS = sql.SQL("; SET LOCAL plan_cache_mode = force_generic_plan")
# The position of a table of this version, or else that of the last event.
MADE = (
    "SELECT p.name IS NOT NULL, coalesce(p.position, h.position)"
    " FROM head h LEFT JOIN projections p ON p.name = %s AND p.digest = %s"
)


async def read_compared(
    conn: AsyncConnection, read_model: ReadModel, row_id: int, stream: str | None
) -> list[dict[str, Any]]:
    """Return the current row of this id, or none, from the table; all of it must be what its stream folds to.

    `stream` is that of the event at `row_id`. If another version of the program made the table, the row comes from the
    stream. Raises ContentAltered.
    """
    filters = {"id": row_id}
    async with conn.transaction():
        await conn.execute(snapshot_with(read_model.name) + PLANS, prepare=False)
        row = await (await conn.execute(MADE, [read_model.name, read_model.digest], prepare=True)).fetchone()
        own, position = (False, 0) if row is None else row
        folded = await read_rows(conn, read_model, filters, as_of=AsOf(position, stream or ""), limit=1)
        if not own:
            return folded
        rows = await read_rows(conn, read_model, filters, as_of=AsOf(), limit=1)
    refuse(read_model, row_id, _differing(*(of[0] if of else {} for of in (folded, rows))))
    return rows


def _differing(folded: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Name the members that differ between two rows, of which one may be empty."""
    return [name for name in {**folded, **row} if _compared(folded.get(name)) != _compared(row.get(name))]


def _compared(value: object) -> object:
    return orjson.dumps(value) if isinstance(value, orjson.Fragment) else value
