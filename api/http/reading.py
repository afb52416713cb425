"""Read one row of a read model, in the same way for every route, and record the access."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel

from api.agents.protocol import AgentRequest
from api.agents.run.context import as_json as context_as_json
from api.agents.run.context import contexts
from api.http.auth.permissions import Reader
from api.http.out_of_scope import check_scope
from api.http.parameters import ReadOne, not_found
from api.services import Services
from ledger.database import AsyncConnection
from ledger.domain.case import stream_of
from ledger.service.accesses import Access, ClientNumber, Item
from ledger.service.ledger import Ledger
from ledger.store.recorded import read_events
from projections import client_names, reads
from projections.client_scope import clients_in_scope
from projections.clients.model import CLIENTS
from projections.compared_row import read_compared
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.read_model import ReadModel
from projections.rows import read_rows
from projections.shown import add_salts, content_altered
from schema.accesses import MOST_SHOWN

Rows = list[dict[str, Any]]


async def read_one(
    services: Services,
    reader: Reader,
    read_model: ReadModel,
    row_id: int,
    query: ReadOne,
    what: str,
    stream: str | None = None,
) -> dict[str, Any]:
    """Read one row by its id. Without `stream`, the id must be the position of an event in the row's stream.

    Raises ApiError `{what}-unknown` for an unknown row, StreamSetAside if its stream was set aside, and Unavailable if
    the access cannot be recorded.
    """
    ledger = services.ledger
    await check_scope(services, reader, stream, row_id, what)

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        strong = query.consistency == "strong" and query.as_of is None
        state, _ = await resolved(ledger, conn, read_model, query.as_of, strong=strong)
        within = stream
        if state.position is not None:
            within = stream or await reads.stream_at(conn, row_id)
            if within is None:
                return []
            state = reads.AsOf(state.position, within)
        if state.position is None:
            within = within or await reads.stream_at(conn, row_id)
            rows = await read_compared(conn, read_model, row_id, within)
        else:
            rows = await read_rows(conn, read_model, {"id": row_id}, as_of=state, limit=1)
        if not rows:
            within = within or await reads.stream_at(conn, row_id)
            if within is not None:
                await reads.count_set_aside(conn, read_model, reads.AsOf(state.position, within))
        await add_salts(conn, read_model, rows)
        return rows

    rows = await ledger.readers.run(work)
    # A row outside the reader's scope gets the same answer as an unknown row, which does not reveal that it exists.
    if not rows or not own_rows(reader).items() <= rows[0].items():
        raise not_found(what)
    await record_rows(services, reader, read_model, query, rows)
    return rows[0]


async def read_named(
    services: Services, read_model: ReadModel, name: str, stream: str, query: ReadOne, what: str
) -> dict[str, Any]:
    """Read the row of a name that has its own stream and is not a client. Raises ApiError `{what}-unknown`."""
    ledger = services.ledger

    async def work(conn: AsyncConnection) -> Rows:
        strong = query.consistency == "strong" and query.as_of is None
        state, _ = await resolved(ledger, conn, read_model, query.as_of, strong=strong)
        state = reads.AsOf(state.position, stream)
        await reads.count_set_aside(conn, read_model, state)
        return await read_rows(conn, read_model, {"name": name}, as_of=state, limit=1)

    rows = await ledger.readers.run(work)
    if not rows:
        raise not_found(what)
    return rows[0]


def own_rows(reader: Reader) -> dict[str, object]:
    """Return the filter by the reader's own rows; empty if the permission covers all rows."""
    return {"agent": reader.actor.id} if reader.scope == "own" else {}


async def record_rows(
    services: Services, reader: Reader, read_model: ReadModel, query: ReadOne, rows: Sequence[dict[str, Any]]
) -> None:
    """Record that a person is about to see these rows, if they are about requests or clients. Raises Unavailable.

    A row that belongs to no request is recorded by its client's number.
    """
    items: set[Item]
    if read_model.request_column is not None:
        items = {row[read_model.request_column] for row in rows}
    elif read_model.client_column is not None:
        items = {ClientNumber(row[read_model.client_column]) for row in rows}
    elif "client_id" in read_model.row.model_fields:
        items = await clients_named(services, reader, (row["client_id"] for row in rows))
    else:
        return
    await record_all(services, reader, query, items, len(rows))


async def clients_named(services: Services, reader: Reader, client_ids: Iterable[str | None]) -> set[Item]:
    """Return the clients with these identifiers, for the record of the access. An erased identifier is None."""
    names = sorted({client_id for client_id in client_ids if client_id is not None})
    if not names or not is_recorded(services, reader):
        return set()

    async def work(conn: AsyncConnection) -> list[int]:
        return await client_names.numbers_of(conn, names)

    return {ClientNumber(number) for number in await services.ledger.readers.run(work)}


async def record_all(services: Services, reader: Reader, query: BaseModel, items: Collection[Item], rows: int) -> None:
    """Record that data of these requests and clients is about to be shown, in as many events as needed.

    Raises Unavailable.
    """
    named = [item for item in items if item is not None]
    parts = [named[start : start + MOST_SHOWN] for start in range(0, len(named), MOST_SHOWN)] or [[]]
    for part in parts:
        await record_read(services, reader, query, part, rows)


async def record_read(services: Services, reader: Reader, query: BaseModel, items: Collection[Item], rows: int) -> None:
    """Record that a person is about to see data of these requests and clients. Raises Unavailable."""
    if not is_recorded(services, reader):
        return
    fields = type(query).model_fields
    parameters = tuple(sorted(fields[name].alias or name for name in query.model_fields_set))
    access = Access(reader.actor.id, reader.actor.role, "read", reader.resource, parameters)
    await services.ledger.accesses.record(access, items, rows)


def is_recorded(services: Services, reader: Reader) -> bool:
    """Return True if this reader's accesses are recorded here. Agents themselves record what they were shown.

    A server that only reads records nothing; its answers say so (api/http/read_only.py).
    """
    return not services.read_only and reader.actor.kind != "agent"


async def resolved(
    ledger: Ledger, conn: AsyncConnection, read_model: ReadModel, as_of: int | datetime | None, *, strong: bool
) -> tuple[reads.AsOf, int]:
    """Return the requested state, and the position that the read waited for; 0 if it did not wait."""
    position = None if as_of is None else await reads.resolve(conn, as_of)
    waited_for = 0
    if strong:
        waited_for = await reads.wait_until_caught_up(conn, read_model, patience_s=ledger.patience_s)
    return reads.AsOf(position), waited_for


async def read_names(services: Services, reader: Reader, client: int, query: ReadOne) -> list[dict[str, Any]]:
    """Read all identifiers that share a client with this number and are in the reader's scope."""
    ledger, scope = services.ledger, reader.actor.scope

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        position = None if query.as_of is None else await reads.resolve(conn, query.as_of)
        names = await client_names.names_of_number(conn, client, position)
        if scope is not None:
            in_scope = await clients_in_scope(conn, scope, ledger.patience_s)
            names = [name for name in names if name.client in in_scope]
        await add_salts(conn, CLIENTS, [{"id": name.client, "client_id": name.client_id} for name in names])
        return [asdict(name) for name in names]

    return await ledger.readers.run(work)


async def read_sealed(ledger: Ledger, positions: list[int]) -> dict[int, dict[str, orjson.Fragment]]:
    """Read the sealed values of events by position, as their JSON was recorded, byte for byte.

    Raises ContentAltered if a value does not open its commitment, or an event is not what was recorded.
    """

    async def work(conn: AsyncConnection) -> dict[int, dict[str, str]]:
        for event in (await read_events(conn, positions)).values():
            if event.altered is not None:
                raise content_altered(event.altered)
        return await reads.sealed_values(conn, positions)

    values = await ledger.readers.run(work)
    return {
        position: {name: orjson.Fragment(text) for name, text in fields.items()} for position, fields in values.items()
    }


async def read_context(services: Services, reader: Reader, request_id: int, as_of: int | None) -> dict[str, Any] | None:
    """Read the input of an agent for a request; None for an unknown request, or one that did not exist at that
    position.

    Raises errors as `check_scope` does.
    """
    ledger, stream = services.ledger, stream_of(request_id)
    await check_scope(services, reader, stream, request_id, "request")

    async def work(conn: AsyncConnection) -> list[AgentRequest]:
        position = None if as_of is None else await reads.resolve(conn, as_of)
        await reads.wait_until_caught_up(conn, PORTFOLIO_REQUESTS, patience_s=ledger.patience_s)
        if position is not None:
            state = reads.AsOf(position, stream)
            if not await read_rows(conn, PORTFOLIO_REQUESTS, {"id": request_id}, as_of=state, limit=1):
                return []
        scope = reader.actor.scope
        within = None if scope is None else (await clients_in_scope(conn, scope, ledger.patience_s)).values()
        found = await contexts(conn, [request_id], position, within=within)
        if not found:
            await reads.count_set_aside(conn, PORTFOLIO_REQUESTS, reads.AsOf(None, stream))
        return found

    requests = await ledger.readers.run(work)
    return context_as_json(requests[0]) if requests else None
