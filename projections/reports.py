"""Read reports: the rows of a view, or of the same SELECT over some decisions, as they are now or as of a position."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from ledger.database import AsyncConnection
from projections.decisions.model import DECISIONS
from projections.engine import ALL_STREAMS, FEW_STREAMS
from projections.read_model import ONE_CLIENT, UP_TO
from projections.registry import read_model_of_view
from projections.rows import fetch

# The column of each report that names the person who acted.
PERSON = {
    "override_rates": "decided_by",
    "override_reasons": "decided_by",
    "decision_times": "decided_by",
    "rubber_stamps": "person",
    "review_coverage": "decided_by",
    "coverage": "name",
}
# This report has no month, and compares times with each other.
WITHOUT_MONTH = "rubber_stamps"

# The view reads this relation, which hides the table of the same name.
OVER = sql.SQL("WITH decisions AS (SELECT {} FROM ({}) model WHERE {}) SELECT * FROM ({}) report WHERE {} LIMIT {}")
CURRENT = sql.SQL("SELECT * FROM decisions")
# Computes, in the zone, the first instant of the period of a decision. Views name months in UTC.
PERIOD = sql.SQL("date_trunc(%(period)s, model.created_at AT TIME ZONE %(zone)s) AT TIME ZONE 'UTC' AS created_at")


@dataclass(frozen=True)
class ReportOver:
    """The subject of a report: the decisions that match the filters, the person, and the position, None for the
    current state.

    Periods are months, quarters or years of the zone.
    """

    filters: Mapping[str, object] = field(default_factory=dict)
    person: str | None = None
    position: int | None = None
    period: str = "month"
    zone: str = "UTC"


async def read_view(conn: AsyncConnection, name: str, *, limit: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows of a view, in the view's own order, as they are now. Raises UnknownReadModel.

    A caller that needs all that is recorded waits for `read_model_of_view(name)` first.
    """
    read_model_of_view(name)
    query = sql.SQL("SELECT * FROM {} LIMIT %(limit)s").format(sql.Identifier(name))
    return await fetch(conn, query, {"limit": limit}, parsed=False)


async def read_report(conn: AsyncConnection, name: str, over: ReportOver, *, limit: int) -> list[dict[str, Any]]:
    """Return the first `limit` rows that the view of this name would have, if these were all decisions."""
    parameters = {
        **over.filters,
        "upto": over.position,
        "period": over.period,
        "zone": over.zone,
        "person": over.person,
        "limit": limit,
    }
    async with conn.transaction():
        if over.position is not None:
            await conn.execute(FEW_STREAMS if "client_id" in over.filters else ALL_STREAMS, prepare=False)
        return await fetch(conn, _query(name, over), parameters, parsed=False)


def _query(name: str, over: ReportOver) -> sql.Composed:
    conditions = [sql.SQL("true"), *(DECISIONS.filters[each].condition for each in over.filters)]
    person: sql.Composable = sql.SQL("true")
    if over.person is not None:
        person = sql.SQL("report.{} = %(person)s").format(sql.Identifier(PERSON[name]))
    return OVER.format(
        sql.SQL(", ").join(_column(name, each) for each in ("stream", *DECISIONS.row.model_fields)),
        _source(over),
        sql.SQL(" AND ").join(conditions),
        DECISIONS.views[name],
        person,
        sql.Placeholder("limit"),
    )


def _source(over: ReportOver) -> sql.Composable:
    if over.position is None:
        return CURRENT
    return DECISIONS.rows(ONE_CLIENT if "client_id" in over.filters else UP_TO)


def _column(report: str, column: str) -> sql.Composable:
    if column == "created_at" and report != WITHOUT_MONTH:
        return PERIOD
    return sql.Identifier("model", column)
