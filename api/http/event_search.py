"""Search the events, page by page. Each page is recorded as read before it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self
from unicodedata import normalize

from fastapi import Request
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from api.http.auth.permissions import Reader, also
from api.http.event_forms import FORM_HELP, EventForm
from api.http.lists import ReadList, ReadRange, decode_cursor
from api.http.parameters import MAX_ID, FilterText, RowId
from api.http.problems import ApiError
from api.http.reading import clients_named, record_all, record_read
from api.http.story import identifiers, upto_of, wait
from api.services import Services, services_of
from ledger.database import AsyncConnection
from ledger.domain.client import stream_of
from ledger.domain.client_scope import ClientScope
from ledger.domain.event_rights import PERMISSIONS_OF_SEALED
from ledger.domain.subject import EXAMINER
from ledger.errors import NotFound
from projections import client_names
from projections.client_scope import client_of, clients_in_scope
from projections.clients.model import CLIENTS
from projections.event_index.model import EVENT_INDEX
from projections.event_search import EventCount, Search, count, in_window
from projections.event_texts.model import EVENT_TEXTS
from projections.rows import Order
from schema.accesses import MOST_SHOWN
from schema.fields import Money

# The filters that the read model has under the same name.
SAME = ("request_id", "stream", "type", "text", "actor", "role", "model", "outcome", "amount_from", "amount_to")


class EventFilters(ReadRange):
    """Which events: all that are given must hold."""

    client: RowId | None = Field(None, description="Events in the streams of the client with this number.")
    client_id: FilterText | None = Field(None, description="The same, by an identifier of the client.")
    request_id: RowId | None = Field(None, description="Events in the stream of this request.")
    stream: FilterText | None = None
    type: FilterText | None = Field(None, description="Such as recommendation.decided.")
    actor: FilterText | None = Field(None, description="The subject that caused the event.")
    role: FilterText | None = Field(None, description="The role in which the actor acted.")
    model: FilterText | None = Field(None, description="The model that was asked, or that recommended.")
    outcome: FilterText | None = Field(None, description="The outcome of a decision, confirmation or replay.")
    amount_from: Money | None = Field(None, description="Requests for this amount or more.")
    amount_to: Money | None = Field(None, description="Requests for this amount or less.")
    text: FilterText | None = Field(
        None,
        description="Events whose sealed texts have all these words, in any script. A word may be open: diversif*.",
    )
    position_from: RowId | None = Field(None, description="From this position on.")
    position_to: RowId | None = Field(None, description="Up to this position; it is included.")

    @model_validator(mode="after")
    def _one_client(self) -> Self:
        if self.client is not None and self.client_id is not None:
            raise PydanticCustomError("one_client", "Input should have client or client_id, not both")
        if self.text is not None and not any(map(str.isalnum, normalize("NFKC", self.text))):
            raise PydanticCustomError("words", "Input should have a word in text")
        if (self.position_from or 0) > (self.position_to or MAX_ID):
            raise PydanticCustomError("reversed", "Input should not have position_from beyond position_to")
        return self


class ReadEvents(EventFilters, ReadList):
    """Query parameters of the search."""

    order: Order = Field("newest", description="Which events come first: those that took place last, or first.")

    format: EventForm | None = Field(None, description=FORM_HELP)


@dataclass(frozen=True)
class FoundEvents:
    """A page. `upto` is the last position that the search reads; `more` says that another page follows."""

    items: list[dict[str, Any]]
    more: bool
    upto: int
    filters: Mapping[str, object]
    count: EventCount | None = None


def check_text(request: Request, reader: Reader, query: EventFilters) -> None:
    """Check that the reader may search by words. Raises ApiError.

    A search by words reveals words, so it needs the right to see the sealed values of each event, of all clients.
    """
    if query.text is None:
        return
    for permission in PERMISSIONS_OF_SEALED:
        also(request, reader, permission)
    check_words(services_of(request.app), reader.actor.role)


def check_words(services: Services, role: str) -> None:
    """Check that a role may see the sealed values of each event, of all clients. Raises ApiError."""
    for permission in PERMISSIONS_OF_SEALED:
        if services.access_policy.scope(permission, role) != "all":
            raise ApiError("wrong-role", f"text searches all clients, and {role} may {permission} of some only")


class EventSearch:
    """One search by one caller."""

    def __init__(self, services: Services, reader: Reader, query: EventFilters) -> None:
        self._services = services
        self._reader = reader
        self._query = query
        # A stream begins with the oldest event.
        self._order: Order = query.order if isinstance(query, ReadEvents) else "oldest"
        self._fixed: tuple[frozenset[str] | None] | None = None

    def fixed(self, visible: frozenset[str] | None) -> EventSearch:
        """Return this search for readers who may know of these clients, even if the reader's rights change meanwhile.

        So the page can be shared by all for whom `visible` is the same.
        """
        search = EventSearch(self._services, self._reader, self._query)
        search._fixed = (visible,)
        return search

    @staticmethod
    def page_rows(most: int | None) -> int:
        """Return how many rows to read at once: as many as one access event may name."""
        return MOST_SHOWN if most is None else min(most, MOST_SHOWN)

    async def first(self, limit: int) -> FoundEvents:
        """Read the page that the query asks for. Raises NotFound, InvalidEvent, Unavailable."""

        async def work(conn: AsyncConnection) -> FoundEvents:
            search, upto = await self._first(conn)
            page = await self._page(conn, search, upto, limit)
            counted = await count(conn, page.filters) if getattr(self._query, "count", False) else None
            return replace(page, count=counted)

        return await self._recorded(work)

    async def next(self, page: FoundEvents, limit: int) -> FoundEvents:
        """Read the page after another one."""
        last_id = page.items[-1]["position"]
        return await self._recorded(
            lambda conn: self._page(conn, self._search(page.filters, last_id), page.upto, limit)
        )

    async def between(self, conn: AsyncConnection, after: int, upto: int, limit: int) -> FoundEvents:
        """Read the first events after a position, up to another one, and record nothing. Raises NotFound."""
        filters = await self._filters_upto(conn, upto)
        filters["from_id"] = max(after + 1, _number(filters["from_id"]))
        return await self._page(conn, Search(filters, "oldest", by_position=True), upto, limit)

    @property
    def scopes(self) -> list[ClientScope] | None:
        """Return the scopes of the reader. It may know the clients that are in all of them. None: all clients."""
        policy, reader = self._services.access_policy, self._reader
        reach = policy.scope("read clients", reader.actor.role)
        if reach == "all":
            return None
        possible = [
            reader.assigned if reach == "assigned" else None,
            reader.examined if EXAMINER in policy.roles("read clients") else None,
        ]
        return [scope for scope in possible if scope is not None]

    async def visible(self, conn: AsyncConnection) -> frozenset[str] | None:
        """Return the identifiers of the clients that the reader may know of now; None: all. Raises Unavailable."""
        if self._fixed is not None:
            return self._fixed[0]
        if self.scopes is None:
            return None
        patience_s = self._services.ledger.patience_s
        found = [(await clients_in_scope(conn, scope, patience_s)).values() for scope in self.scopes]
        return frozenset(name for names in found for name in names if name is not None)

    async def record(self, items: list[dict[str, Any]]) -> None:
        """Record that these events are about to be shown. Raises Unavailable."""
        requests = {item["request_id"] for item in items}
        others = (item["client_id"] for item in items if item["request_id"] is None)
        clients = await clients_named(self._services, self._reader, others)
        await record_all(self._services, self._reader, self._query, requests | clients, len(items))

    async def _recorded(self, work: Any) -> FoundEvents:
        try:
            page: FoundEvents = await self._services.ledger.readers.run(work)
        except NotFound:  # also record a read without a result
            await record_read(self._services, self._reader, self._query, (), 0)
            raise
        await self.record(page.items)
        return page

    async def _page(self, conn: AsyncConnection, search: Search, upto: int, limit: int) -> FoundEvents:
        rows = await search.page(conn, limit + 1)
        visible = await self.visible(conn)
        if visible is not None:
            for row in rows:
                row["client_id"] = row["client_id"] if row["client_id"] in visible else None
        return FoundEvents(rows[:limit], len(rows) > limit, upto, search.filters)

    def _search(self, filters: Mapping[str, object], last_id: int | None) -> Search:
        return Search(filters, self._order, beyond_id=last_id)

    async def _first(self, conn: AsyncConnection) -> tuple[Search, int]:
        """Return the search of the page, and the last position to read: new events do not get in between."""
        query = self._query
        cursor = getattr(query, "cursor", None)
        last_id, pinned = (None, None) if cursor is None else decode_cursor(cursor)
        upto = await self.last(conn, query.as_of if pinned is None else pinned)
        return self._search(await self._filters_upto(conn, upto), last_id), upto

    async def last(self, conn: AsyncConnection, as_of: int | datetime | None) -> int:
        """Return the position of the last event of the wanted state, once the index has it.

        Raises InvalidEvent, Unavailable.
        """
        query = self._query
        upto = await upto_of(conn, as_of)
        await wait(self._services, conn, EVENT_INDEX, query, upto)
        if query.text is not None:
            await wait(self._services, conn, EVENT_TEXTS, query, upto)
        return upto

    async def _filters_upto(self, conn: AsyncConnection, upto: int) -> dict[str, object]:
        query = self._query
        filters = {name: value for name in SAME if (value := getattr(query, name)) is not None}
        filters["upto"] = upto
        filters |= await in_window(conn, query.created_from, query.created_to, upto)
        filters["from_id"] = max(filters["from_id"], query.position_from or 1)
        filters["before_id"] = min(filters["before_id"], (query.position_to or upto) + 1)
        names = await self._names(conn, upto)
        if names is not None:
            filters["of_client"] = names
        return filters

    async def _names(self, conn: AsyncConnection, upto: int) -> list[str] | None:
        """Return all identifiers of the client that is asked for, as they were known then; None for all clients.

        Raises NotFound for a client that the reader may not know of, as for one that never was.
        """
        names, visible = await self._known_names(conn, upto), await self.visible(conn)
        if names is None or visible is None:
            return names
        query = self._query
        client_id = query.client_id if query.client is None else await client_of(conn, stream_of(query.client))
        if client_id not in visible:
            raise client_names.client_unknown()
        # Not the other ones: a merge shows nobody more of another client than before.
        return [name for name in names if name in visible]

    async def _known_names(self, conn: AsyncConnection, upto: int) -> list[str] | None:
        query = self._query
        if query.client is not None:
            return await identifiers(self._services, self._reader, conn, query.client, query, upto)
        if query.client_id is None:
            return None
        await wait(self._services, conn, CLIENTS, query, upto)
        await client_names.check_known(conn, query.client_id)
        return (await client_names.names_of(conn, [query.client_id], upto))[query.client_id]


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value
