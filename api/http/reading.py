"""One way to read a list or one row of a read model, for every route."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from fastapi.responses import Response

from api.agents.protocol import AgentRequest
from api.agents.run.context import as_json as context_as_json
from api.agents.run.context import contexts
from api.http.parameters import ReadList, ReadOne, decode_cursor, not_found, page
from ledger.database import AsyncConnection
from ledger.domain.case import stream_of
from ledger.service.ledger import Ledger
from projections import reads
from projections.registry import get_read_model, read_model_of_view


async def read_page(ledger: Ledger, name: str, asked: ReadList) -> Response:
    """A page of the read model `name`."""
    filters = asked.filters()
    as_of = asked.as_of
    if asked.cursor is not None:
        filters["before_id"], position = decode_cursor(asked.cursor)
        as_of = position if position is not None else as_of

    async def work(conn: AsyncConnection) -> tuple[list[dict[str, Any]], int | None]:
        # A client's streams are known without the table; a list of everybody's is looked up in it.
        strong = asked.consistency == "strong" and (as_of is None or "client_id" not in filters)
        state = await _resolved(ledger, conn, name, as_of, strong=strong)
        found = await reads.read_rows(conn, get_read_model(name), filters, as_of=state, limit=asked.limit + 1)
        return found, state.position

    items, position = await ledger.readers.run(work)
    return page(items, asked.limit, position)


async def read_one(
    ledger: Ledger, name: str, row_id: int, asked: ReadOne, what: str, stream: str | None = None
) -> dict[str, Any]:
    """One row by id. Where the caller does not know its `stream`, the id is the position of an event in it.

    Raises ApiError, which says that there is no such `what`.
    """

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        strong = asked.consistency == "strong" and asked.as_of is None
        state = await _resolved(ledger, conn, name, asked.as_of, strong=strong)
        if state.position is not None:
            within = stream or await reads.stream_at(conn, row_id)
            if within is None:
                return []
            state = reads.AsOf(state.position, within)
        return await reads.read_rows(conn, get_read_model(name), {"id": row_id}, as_of=state, limit=1)

    found = await ledger.readers.run(work)
    if not found:
        raise not_found(what)
    return found[0]


async def _resolved(
    ledger: Ledger, conn: AsyncConnection, name: str, as_of: int | datetime | None, *, strong: bool
) -> reads.AsOf:
    position = None if as_of is None else await reads.resolve(conn, as_of)
    if strong:
        await reads.wait_until_caught_up(conn, get_read_model(name), patience_s=ledger.patience_s)
    return reads.AsOf(position)


async def read_sealed(ledger: Ledger, positions: list[int]) -> dict[int, dict[str, orjson.Fragment]]:
    """The sealed values of events, as their JSON was recorded, byte for byte."""
    found = await ledger.readers.run(lambda conn: reads.sealed_values(conn, positions))
    return {at: {name: orjson.Fragment(text) for name, text in fields.items()} for at, fields in found.items()}


async def read_report(ledger: Ledger, name: str, limit: int) -> list[dict[str, Any]]:
    """The first rows of a view, with everything acknowledged before."""

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        await reads.wait_until_caught_up(conn, read_model_of_view(name), patience_s=ledger.patience_s)
        return await reads.read_view(conn, name, limit=limit)

    return await ledger.readers.run(work)


async def read_context(ledger: Ledger, request_id: int, as_of: int | None) -> dict[str, Any] | None:
    """What an agent is given for a request, with everything acknowledged before; None where there is no request."""

    async def work(conn: AsyncConnection) -> list[AgentRequest]:
        upto = None if as_of is None else await reads.resolve(conn, as_of)
        requests = get_read_model("portfolio_requests")
        await reads.wait_until_caught_up(conn, requests, patience_s=ledger.patience_s)
        if upto is not None:
            state = reads.AsOf(upto, stream_of(request_id))
            if not await reads.read_rows(conn, requests, {"id": request_id}, as_of=state, limit=1):
                return []
        return await contexts(conn, [request_id], upto)

    found = await ledger.readers.run(work)
    return context_as_json(found[0]) if found else None
