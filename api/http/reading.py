"""Read a list or one row of a read model, in the same way for every route."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from fastapi.responses import Response

from api.agents.protocol import AgentRequest
from api.agents.run.context import as_json as context_as_json
from api.agents.run.context import contexts
from api.http.parameters import ReadList, ReadOne, decode_cursor, not_found, page
from api.services import Services
from ledger.database import AsyncConnection
from ledger.domain.case import stream_of
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from projections import reads
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.read_model import ReadModel
from projections.registry import read_model_of_view
from projections.shown import SEALED_OF, add_salts, read_compared


async def read_page(services: Services, caller: Actor, read_model: ReadModel, query: ReadList) -> Response:
    """Read a page of a read model."""
    ledger = services.ledger
    filters = query.filters()
    as_of = query.as_of
    if query.cursor is not None:
        filters["before_id"], position = decode_cursor(query.cursor)
        as_of = position if position is not None else as_of

    async def work(conn: AsyncConnection) -> tuple[list[dict[str, Any]], int | None, int]:
        # The streams of one client are known without the table; for a list of all clients the table must be current.
        strong = query.consistency == "strong" and (as_of is None or "client_id" not in filters)
        state = await _resolved(ledger, conn, read_model, as_of, strong=strong)
        aside = await reads.count_set_aside(conn, read_model, state, client_id=filters.get("client_id"))
        rows = await reads.read_rows(conn, read_model, filters, as_of=state, limit=query.limit + 1)
        await add_salts(conn, read_model, rows)
        return rows, state.position, aside

    if as_of is None or "client_id" in filters:
        items, position, aside = await ledger.readers.run(work)
    else:
        items, position, aside = await services.slow_reads.run(caller.id, work)
    return page(items, query, position, aside)


async def read_one(
    ledger: Ledger, read_model: ReadModel, row_id: int, query: ReadOne, what: str, stream: str | None = None
) -> dict[str, Any]:
    """Read one row by its id. Without `stream`, the id must be the position of an event in the row's stream.

    Raises ApiError with the type `{what}-unknown` if there is no such row, and StreamSetAside if its stream was set
    aside.
    """

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        strong = query.consistency == "strong" and query.as_of is None
        state = await _resolved(ledger, conn, read_model, query.as_of, strong=strong)
        within = stream
        if state.position is not None:
            within = stream or await reads.stream_at(conn, row_id)
            if within is None:
                return []
            state = reads.AsOf(state.position, within)
        if state.position is None and read_model.name in SEALED_OF:
            within = within or await reads.stream_at(conn, row_id)
            rows = await read_compared(conn, read_model, row_id, within)
        else:
            rows = await reads.read_rows(conn, read_model, {"id": row_id}, as_of=state, limit=1)
        if not rows:
            within = within or await reads.stream_at(conn, row_id)
            if within is not None:
                await reads.count_set_aside(conn, read_model, reads.AsOf(state.position, within))
        await add_salts(conn, read_model, rows)
        return rows

    rows = await ledger.readers.run(work)
    if not rows:
        raise not_found(what)
    return rows[0]


async def _resolved(
    ledger: Ledger, conn: AsyncConnection, read_model: ReadModel, as_of: int | datetime | None, *, strong: bool
) -> reads.AsOf:
    position = None if as_of is None else await reads.resolve(conn, as_of)
    if strong:
        await reads.wait_until_caught_up(conn, read_model, patience_s=ledger.patience_s)
    return reads.AsOf(position)


async def read_sealed(ledger: Ledger, positions: list[int]) -> dict[int, dict[str, orjson.Fragment]]:
    """Read the sealed values of events by position, as their JSON was recorded, byte for byte."""
    values = await ledger.readers.run(lambda conn: reads.sealed_values(conn, positions))
    return {
        position: {name: orjson.Fragment(text) for name, text in fields.items()} for position, fields in values.items()
    }


async def read_report(ledger: Ledger, name: str, limit: int) -> list[dict[str, Any]]:
    """Read the first rows of a view. They include everything that was acknowledged before."""

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        await reads.wait_until_caught_up(conn, read_model_of_view(name), patience_s=ledger.patience_s)
        return await reads.read_view(conn, name, limit=limit)

    return await ledger.readers.run(work)


async def read_context(ledger: Ledger, request_id: int, as_of: int | None) -> dict[str, Any] | None:
    """Read what an agent gets for a request; None if there is no such request, or was none at that position."""

    async def work(conn: AsyncConnection) -> list[AgentRequest]:
        position = None if as_of is None else await reads.resolve(conn, as_of)
        await reads.wait_until_caught_up(conn, PORTFOLIO_REQUESTS, patience_s=ledger.patience_s)
        if position is not None:
            state = reads.AsOf(position, stream_of(request_id))
            if not await reads.read_rows(conn, PORTFOLIO_REQUESTS, {"id": request_id}, as_of=state, limit=1):
                return []
        found = await contexts(conn, [request_id], position)
        if not found:
            await reads.count_set_aside(conn, PORTFOLIO_REQUESTS, reads.AsOf(None, stream_of(request_id)))
        return found

    requests = await ledger.readers.run(work)
    return context_as_json(requests[0]) if requests else None
