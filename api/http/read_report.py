"""Read a report about the requested decisions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.http.lists import MostRows, ReadRange
from api.http.parameters import FilterText
from api.services import Services
from ledger.database import AsyncConnection
from ledger.store.envelope import Actor
from projections import client_names, reads
from projections.client_scope import clients_in_scope
from projections.clients.model import CLIENTS
from projections.decisions.model import DECISIONS
from projections.reports import ReportOver
from projections.reports import read_report as read_rows_of_report
from projections.rows import one_state

Report = Literal["override-rates", "override-reasons", "decision-times", "rubber-stamps", "review-coverage", "coverage"]


class ReadReport(ReadRange):
    """Query parameters of a report: the decisions that it is about, which are those made from `from` to `to`."""

    limit: MostRows = 1000
    client_id: FilterText | None = Field(None, description="Decisions for this client.")
    person: FilterText | None = Field(
        None, description="Decided by this subject; for rubber-stamps also confirmed by; the `name` of coverage."
    )
    period: Literal["month", "quarter", "year"] = Field(
        "month", description="What rows are made by. `month` of a row is the first day of the period, in the `zone`."
    )


async def read_report(services: Services, actor: Actor, report: Report, query: ReadReport) -> dict[str, Any]:
    """Return the members of the answer. Raises NotFound `client-unknown`, also for a client out of scope."""
    patience_s = services.ledger.patience_s
    name = report.replace("-", "_")
    ranged = {"created_from": query.created_from, "created_to": query.created_to}
    filters: dict[str, object] = {each: value for each, value in ranged.items() if value is not None}

    async def work(conn: AsyncConnection) -> dict[str, Any]:
        position = None if query.as_of is None else await reads.resolve(conn, query.as_of)
        waited_for = 0
        if query.consistency == "strong":
            waited_for = await reads.wait_until_caught_up(conn, DECISIONS, patience_s=patience_s)
        if query.client_id is not None:
            filters["client_id"] = await _names(conn, services, actor, query.client_id, position)
        over = ReportOver(filters, query.person, position, query.period, query.zone)
        if position is not None:
            rows = await read_rows_of_report(conn, name, over, limit=query.limit)
            return {"items": rows, "as_of": position}
        async with one_state(conn, DECISIONS) as of_table:
            rows = await read_rows_of_report(conn, name, over, limit=query.limit)
            return {"items": rows, "as_of": max(of_table, waited_for)}

    if query.as_of is None or query.client_id is not None:
        return await services.ledger.readers.run(work)
    return await services.slow_reads.run(actor.id, work)


async def _names(
    conn: AsyncConnection, services: Services, actor: Actor, client_id: str, position: int | None
) -> list[str]:
    """Return all identifiers of the client, as they were known then."""
    patience_s = services.ledger.patience_s
    await client_names.check_known(conn, client_id)
    await reads.wait_until_caught_up(conn, CLIENTS, patience_s=patience_s, upto=position)
    names = (await client_names.names_of(conn, [client_id], position))[client_id]
    if actor.scope is not None:
        in_scope = (await clients_in_scope(conn, actor.scope, patience_s)).values()
        names = [name for name in names if name in in_scope]
    if not names:
        raise client_names.client_unknown()
    return names
