"""Find the decisions that a sample is drawn from, or that a review of a range covers: now, or as of a position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import AsyncConnection
from ledger.domain.sampling import MOST_DECISIONS, Facts
from ledger.service.samples import Drawing
from projections import client_names, reads
from projections.clients.model import CLIENTS
from projections.decisions.model import DECISIONS
from projections.engine import ALL_STREAMS
from projections.read_model import UP_TO, sql_file
from projections.rows import one_state
from schema.samples import DecisionsIn

QUERY = sql_file(Path(__file__).with_name("population.sql"))
CURRENT = sql.SQL("SELECT * FROM decisions")
# As far as the read model has come; the number may be taken by now.
NEXT_SAMPLE = "SELECT coalesce(max(id), 0) + 1 FROM samples"
# By member of DecisionsIn. The others are filters of the read model, with the names there.
OWN = {
    "overridden": sql.SQL("(model.outcome IN ('edit', 'reject')) = %(overridden)s"),
    "unreviewed": sql.SQL("model.review_id IS NULL"),
}


async def find_decisions(
    conn: AsyncConnection, wanted: DecisionsIn, *, patience_s: float, client: int | None = None
) -> Drawing:
    """Return the decisions that match now, without those of erased clients: at most one more than a sample may have.

    With the number of a `client`: its decisions, under all its identifiers.
    """
    names = None
    if client is not None:
        await reads.wait_until_caught_up(conn, CLIENTS, patience_s=patience_s)
        found = await client_names.names_of_number(conn, client, None)
        names = [name.client_id for name in found if name.client_id is not None]
    waited_for = await reads.wait_until_caught_up(conn, DECISIONS, patience_s=patience_s)
    async with one_state(conn, DECISIONS) as of_table:
        upto = max(of_table, waited_for)
        return await _select(conn, CURRENT, wanted, upto, names)


async def find_decisions_as_of(conn: AsyncConnection, wanted: DecisionsIn, upto: int) -> Drawing:
    """Return the decisions that matched as of a position: the same, from the events."""
    async with conn.transaction():
        await conn.execute(ALL_STREAMS, prepare=False)
        return await _select(conn, DECISIONS.rows(UP_TO), wanted, upto)


async def _select(
    conn: AsyncConnection, source: sql.Composable, wanted: DecisionsIn, upto: int, names: list[str] | None = None
) -> Drawing:
    members = wanted.model_dump(include=set(DecisionsIn.model_fields), exclude_none=True)
    members |= {} if names is None else {"client_id": names}
    conditions = [OWN[name] if name in OWN else DECISIONS.filters[name].condition for name in members]
    query = QUERY.format(source=source, conditions=sql.SQL(" AND ").join(conditions))
    parameters: dict[str, Any] = {**members, "upto": upto, "most": MOST_DECISIONS + 1}
    async with conn.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(query, parameters)).fetchall()
    streams = {row["id"]: row.pop("stream") for row in rows}
    number = await (await conn.execute(NEXT_SAMPLE, prepare=True)).fetchone()
    return Drawing(upto, [Facts(*row.values()) for row in rows], streams, int((number or [1])[0]))
