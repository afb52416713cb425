"""Read a list, in the same way for every route: as JSON one page at a time, or as CSV or NDJSON completely.

Each page is recorded as read before it is shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from api.http import tabular
from api.http.auth.permissions import Reader
from api.http.lists import FoundRows, ReadList, ReadOfRequests, ReadWindow, decode_cursor, encode_cursor
from api.http.media_types import FORMS, JSON, negotiate
from api.http.parameters import as_json
from api.http.reading import Rows, own_rows, record_rows, resolved
from api.http.story import upto_of
from api.services import Services
from ledger.database import AsyncConnection
from ledger.errors import NotFound
from projections import client_names, reads
from projections.client_scope import clients_in_scope, scope_filter
from projections.clients.model import CLIENTS
from projections.read_model import ReadModel
from projections.rows import MOST_COUNTED, Shape, beyond, count_rows, one_state, read_rows
from projections.shown import SEALED_OF, add_salts

# The filters by client: for rows that belong to one client, and to several.
OF_CLIENT = frozenset({"client_id", "of_client"})
# The number of rows that are read at once for a complete answer.
AT_ONCE = 1000

Finish = Callable[[AsyncConnection, Rows, reads.AsOf], Awaitable[Rows]]


async def as_they_are(_conn: AsyncConnection, rows: Rows, _as_of: reads.AsOf) -> Rows:
    """Return the rows unchanged."""
    return rows


class Part(NamedTuple):
    """Select the rows that also match `where`; `finish` completes each row."""

    where: Mapping[str, object] = MappingProxyType({})
    finish: Finish = as_they_are


async def read_page(
    services: Services,
    reader: Reader,
    read_model: ReadModel,
    query: ReadWindow,
    *,
    where: Mapping[str, object] = MappingProxyType({}),
    finish: Finish = as_they_are,
) -> Response:
    """Answer with a page of a read model: the rows that also match `where`, each completed by `finish`.

    Raises Unavailable if the page shows data of clients and this cannot be recorded.
    """
    return await ListRead(services, reader, read_model, query, where, finish).page()


async def read_list(
    services: Services,
    request: Request,
    reader: Reader,
    read_model: ReadModel,
    query: ReadList,
    shown: type[BaseModel],
    part: Part | None = None,
) -> Response:
    """Answer with a page, or in another form with all rows, each with the members of `shown`.

    Raises errors as `read_page` does.
    """
    found = ListRead(services, reader, read_model, query, *(part or Part()))
    media_type = negotiate(request, FORMS)
    if media_type == JSON:
        return await found.page()
    return await found.all(media_type, tuple((read_model.summary or shown if found.is_summary else shown).model_fields))


class ListRead:
    """One read of a list by one caller."""

    def __init__(
        self,
        services: Services,
        reader: Reader,
        read_model: ReadModel,
        query: ReadWindow,
        where: Mapping[str, object],
        finish: Finish,
    ) -> None:
        self._services = services
        self._reader = reader
        self._read_model = read_model
        self._query = query
        self._finish = finish
        self._filters = {**query.filters(), **own_rows(reader), **where}
        self._order = query.order if isinstance(query, ReadList) else "newest"
        self._counts = isinstance(query, ReadList) and query.count
        self.is_summary = isinstance(query, ReadOfRequests) and query.fields == "summary"

    async def page(self) -> Response:
        """Answer with the page that the query asks for."""
        query = self._query
        last_id, pinned = (None, None) if query.cursor is None else decode_cursor(query.cursor)
        as_of = query.as_of if pinned is None else pinned
        found = await self._read(query.limit, last_id, as_of)
        # Later pages of a list of the present state use the position of the first page.
        position = None if as_of is None else found.as_of
        content = {
            "items": found.items,
            "next_cursor": None if found.last_id is None else encode_cursor(found.last_id, position),
            "as_of": found.as_of,
            "count": found.count and found.count._asdict(),
        }
        response = as_json(content, query)
        response.headers.update(_aside(found))
        return response

    async def all(self, media_type: str, names: tuple[str, ...]) -> Response:
        """Answer with all rows from the cursor on, or `limit` of them, as of one position. Memory holds one page."""
        query, first_id = self._query, None
        as_of = query.as_of
        if query.cursor is not None:
            first_id, pinned = decode_cursor(query.cursor)
            as_of = as_of if pinned is None else pinned
        if as_of is None:
            as_of = await self._services.ledger.readers.run(lambda conn: upto_of(conn, None))
        most = query.limit if "limit" in query.model_fields_set else None
        # Read before the answer begins, so that a failure has its status.
        first = await self._read(most or AT_ONCE, first_id, as_of)
        headers = {"Cache-Control": "no-store", "Ledger-As-Of": str(first.as_of), **query.zone_header, **_aside(first)}
        return StreamingResponse(self._rest(first, most, media_type, names), headers=headers, media_type=media_type)

    async def _rest(
        self, found: FoundRows, most: int | None, media_type: str, names: tuple[str, ...]
    ) -> AsyncIterator[bytes]:
        yield tabular.heading(media_type, names) + tabular.encode(found.items, media_type, names)
        while found.last_id is not None and most is None:
            found = await self._read(AT_ONCE, found.last_id, found.as_of)
            yield tabular.encode(found.items, media_type, names)

    async def _read(self, limit: int, last_id: int | None, as_of: int | datetime | None) -> FoundRows:
        """Read the rows after an id, in the order, and record that they are shown."""

        async def work(conn: AsyncConnection) -> FoundRows:
            return await self._found(conn, limit, last_id, as_of)

        reader, services = self._reader, self._services
        try:
            if as_of is None or "client_id" in self._filters:
                found = await services.ledger.readers.run(work)
            else:
                found = await services.slow_reads.run(reader.actor.id, work)
        except NotFound:  # also record a read without a result
            await record_rows(services, reader, self._read_model, self._query, [])
            raise
        await record_rows(services, reader, self._read_model, self._query, found.items)
        return found

    async def _found(
        self, conn: AsyncConnection, limit: int, last_id: int | None, as_of: int | datetime | None
    ) -> FoundRows:
        # Without the table, the streams of one client are known; for a list of all clients, the table must be current.
        is_strong = self._query.consistency == "strong"
        strong = is_strong and (as_of is None or "client_id" not in self._filters)
        state, waited_for = await resolved(self._services.ledger, conn, self._read_model, as_of, strong=strong)
        names = await self._names(conn, state)
        wanted = self._filters if names is None else self._of_names(names)
        scope = self._reader.actor.scope
        if scope is not None:
            in_scope = await clients_in_scope(conn, scope, self._services.ledger.patience_s)
            if names is not None and self._client_id not in in_scope.values():
                raise client_names.client_unknown()
            wanted = {**wanted, **scope_filter(self._read_model, in_scope)}
        of_client = names if "client_id" in self._filters else None
        aside = await reads.count_set_aside(conn, self._read_model, state, client_id=of_client)
        if state.position is not None:
            found = await self._selected(conn, wanted, state, state.position, aside, limit, last_id)
        else:
            sealed = self._read_model.name in SEALED_OF
            async with one_state(conn, self._read_model, sealed=sealed) as of_table:
                # Events after the table's position, for which the read did not have to wait, change none of its rows.
                position = max(of_table, waited_for)
                found = await self._selected(conn, wanted, state, position, aside, limit, last_id)
        # Not in the snapshot: this may wait for another read model, whose position would not move there.
        return replace(found, items=await self._finish(conn, list(found.items), state))

    async def _selected(
        self,
        conn: AsyncConnection,
        wanted: Mapping[str, object],
        state: reads.AsOf,
        position: int,
        aside: int,
        limit: int,
        last_id: int | None,
    ) -> FoundRows:
        read_model, order = self._read_model, self._order
        following = wanted if last_id is None else {**wanted, beyond(order): last_id}
        columns = read_model.summary.model_fields if self.is_summary and read_model.summary is not None else None
        rows = await read_rows(conn, read_model, following, as_of=state, limit=limit + 1, shape=Shape(order, columns))
        more, rows = len(rows) > limit, rows[:limit]
        await add_salts(conn, read_model, rows, contents=columns is None)
        counted = await count_rows(conn, read_model, wanted, as_of=state, most=MOST_COUNTED) if self._counts else None
        next_id = rows[-1]["id"] if more else None
        return FoundRows(rows, next_id, position, aside, counted)

    @property
    def _client_id(self) -> object:
        """Return the requested identifier; None without such a filter."""
        return next((self._filters[name] for name in OF_CLIENT & self._filters.keys()), None)

    def _of_names(self, names: list[str]) -> dict[str, object]:
        return {**self._filters, **dict.fromkeys(OF_CLIENT & self._filters.keys(), names)}

    async def _names(self, conn: AsyncConnection, state: reads.AsOf) -> list[str] | None:
        """Return all identifiers of the requested client, as they were known then; None without such a filter.

        Raises NotFound `client-unknown` if the ledger never had the client, as far as its records are not erased.
        """
        client_id = self._client_id
        if client_id is None:
            return None
        await client_names.check_known(conn, str(client_id))
        if self._query.consistency == "strong":
            patience_s = self._services.ledger.patience_s
            await reads.wait_until_caught_up(conn, CLIENTS, patience_s=patience_s, upto=state.position)
        return (await client_names.names_of(conn, [str(client_id)], state.position))[str(client_id)]


def _aside(found: FoundRows) -> dict[str, str]:
    """Return the header with the number of streams that were set aside; empty if there are none."""
    return {"Ledger-Set-Aside": str(found.aside)} if found.aside else {}
