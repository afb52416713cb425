"""Routes to search events, and to read one as it was recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from api.http import tabular
from api.http.auth.permissions import MayReadEvents, also
from api.http.event_search import EventSearch, FoundEvents, ReadEvents
from api.http.lists import encode_cursor
from api.http.media_types import FORMS, IN_FORMS, JSON, negotiate
from api.http.parameters import PathId, ReadOne, as_json
from api.http.problems import documented
from api.http.shown_event import ShownEvent, read_event
from api.services import InjectedServices
from ledger.domain.event_rights import PERMISSIONS_OF_SEALED

router = APIRouter(prefix="/events", tags=["events"])


class FoundEvent(BaseModel):
    """An event as the search finds it; `/events/{position}` has the whole of it."""

    position: int
    recorded_at: datetime
    type: str
    stream: str
    version: int
    client_id: str | None
    request_id: int | None
    actor: str | None
    actor_kind: str | None
    role: str | None
    model: str | None
    outcome: str | None
    amount_usd: Decimal | None


class EventCount(BaseModel):
    """The number of events that match. If not `exact`, there are at least so many."""

    events: int
    exact: bool


class EventPage(BaseModel):
    """A page of events. `as_of` is the last position that was searched; `count` is null unless it was asked for."""

    items: list[FoundEvent]
    next_cursor: str | None
    as_of: int
    count: EventCount | None


@router.get("", response_model=EventPage, responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 503)})
async def list_events(
    services: InjectedServices, request: Request, caller: MayReadEvents, query: Annotated[ReadEvents, Query()]
) -> Response:
    """Search the events. An auditor is shown the clients that it may examine. Roles: auditor, compliance.

    With `Accept: text/csv` or `application/x-ndjson`, all events that match are streamed, or `limit` of them.
    """
    media_type = negotiate(request, FORMS)
    if query.text is not None:
        # To find by words tells words: so it takes the right to see the sealed values of each event.
        for permission in PERMISSIONS_OF_SEALED:
            also(request, caller, permission)
    found = EventSearch(services, caller, query)
    if media_type == JSON:
        page = await found.first(query.limit)
        cursor = encode_cursor(page.items[-1]["position"], page.upto) if page.more else None
        content = {
            "items": page.items,
            "next_cursor": cursor,
            "as_of": page.upto,
            "count": page.count and page.count._asdict(),
        }
        return as_json(content, query)
    most = query.limit if "limit" in query.model_fields_set else None
    # Before the answer begins, so that a failure has its status.
    first = await found.first(found.page_rows(most))
    headers = {"Cache-Control": "no-store", "Ledger-As-Of": str(first.upto), **query.zone_header}
    return StreamingResponse(_streamed(found, first, most, media_type), headers=headers, media_type=media_type)


async def _streamed(found: EventSearch, first: FoundEvents, most: int | None, media_type: str) -> AsyncIterator[bytes]:
    """Yield the rows page after page; memory holds one page."""
    names = tuple(FoundEvent.model_fields)
    page: FoundEvents | None = first
    yield tabular.heading(media_type, names)
    while page is not None:
        yield tabular.encode(page.items, media_type, names)
        most = None if most is None else most - len(page.items)
        page = await found.next(page, found.page_rows(most)) if page.more and most != 0 else None


@router.get("/{position}", response_model=ShownEvent, responses=documented(401, 403, 404, 422, 503))
async def get_event(
    services: InjectedServices, caller: MayReadEvents, position: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one event as it was recorded, with the sealed values that the caller may see. Roles: auditor, compliance."""
    return as_json(await read_event(services, caller, position, query), query)
