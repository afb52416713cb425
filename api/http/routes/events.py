"""Routes to search events, to follow them, and to read one as it was recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, BeforeValidator

from api.http import event_stream, tabular
from api.http.auth.permissions import MayReadEvents
from api.http.event_forms import CLOUDEVENTS_BATCH, EventForm, EventWriter
from api.http.event_search import EventSearch, FoundEvents, ReadEvents, check_text
from api.http.event_stream import EventStream, FollowEvents
from api.http.lists import encode_cursor
from api.http.media_types import FORMS, IN_FORMS, JSON, NDJSON, negotiate
from api.http.parameters import MAX_ID, PathId, ReadOne, as_json, plain_id
from api.http.problems import documented
from api.http.shown_event import ShownEvent, read_event
from api.services import InjectedServices, Services
from ledger.store.head import read_head_async

router = APIRouter(prefix="/events", tags=["events"])

# The media types of each form of an event; the first is that of a caller that likes all.
OFFERED: dict[EventForm | None, tuple[str, ...]] = {
    None: (*FORMS, CLOUDEVENTS_BATCH),
    "ledger": FORMS,
    "cloudevents": (CLOUDEVENTS_BATCH, NDJSON),
    "ocsf": (NDJSON,),
}
IN_ALL_FORMS: dict[int | str, dict[str, Any]] = {
    200: {"content": {**IN_FORMS[200]["content"], CLOUDEVENTS_BATCH: {"schema": {"type": "array"}}}}
}
# Of each message.
MESSAGE = {"schema": {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}}
LastEventId = Annotated[
    int | None,
    Header(alias="Last-Event-ID", ge=0, le=MAX_ID, description="Begin after this position."),
    BeforeValidator(plain_id),
]


class FoundEvent(BaseModel):
    """An event as the search finds it; `/events/{position}` has the whole of it.

    Of an imported event, `actor` acted at `occurred_at`, as `imported_by` says; both are null of other events.
    """

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
    occurred_at: datetime | None
    imported_by: str | None


class EventCount(BaseModel):
    """The number of events that match. If not `exact`, there are at least so many, and perhaps `estimated` ones."""

    events: int
    exact: bool
    estimated: int | None


class EventPage(BaseModel):
    """A page of events. `as_of` is the last position that was searched; `count` is null unless it was asked for."""

    items: list[FoundEvent]
    next_cursor: str | None
    as_of: int
    count: EventCount | None


@router.get("", response_model=EventPage, responses={**IN_ALL_FORMS, **documented(401, 403, 404, 406, 422, 503)})
async def list_events(
    services: InjectedServices, request: Request, caller: MayReadEvents, query: Annotated[ReadEvents, Query()]
) -> Response:
    """Search the events. An auditor is shown the clients that it may examine. Roles: auditor, compliance.

    With `Accept: text/csv` or `application/x-ndjson`, all events that match are streamed, or `limit` of them. So are
    CloudEvents and events of OCSF, in the forms of `format`.
    """
    media_type = negotiate(request, OFFERED[query.format])
    check_text(request, caller, query)
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
    form: EventForm = query.format or ("cloudevents" if media_type == CLOUDEVENTS_BATCH else "ledger")
    pages = _pages(found, first, most)
    if form == "ledger":
        streamed = _rows(pages, media_type)
    else:
        streamed = _shaped(pages, EventWriter(form, await _origin(services), array=media_type == CLOUDEVENTS_BATCH))
    return StreamingResponse(streamed, headers=headers, media_type=media_type)


async def _pages(found: EventSearch, first: FoundEvents, most: int | None) -> AsyncIterator[FoundEvents]:
    """Yield page after page; memory holds one."""
    page: FoundEvents | None = first
    while page is not None:
        yield page
        most = None if most is None else most - len(page.items)
        page = await found.next(page, found.page_rows(most)) if page.more and most != 0 else None


async def _rows(pages: AsyncIterator[FoundEvents], media_type: str) -> AsyncIterator[bytes]:
    names = tuple(FoundEvent.model_fields)
    yield tabular.heading(media_type, names)
    async for page in pages:
        yield tabular.encode(page.items, media_type, names)


async def _shaped(pages: AsyncIterator[FoundEvents], writer: EventWriter) -> AsyncIterator[bytes]:
    async for page in pages:
        yield writer.page(page.items)
    yield writer.end()


async def _origin(services: Services) -> str:
    head = await services.ledger.readers.run(read_head_async)
    return "" if head is None else head.origin


@router.get(
    "/stream",
    response_class=Response,
    responses={200: {"content": {event_stream.MEDIA_TYPE: MESSAGE}}, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def follow_events(
    services: InjectedServices,
    request: Request,
    caller: MayReadEvents,
    query: Annotated[FollowEvents, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Follow the events that match: those that are there, the oldest first, then new ones as they are recorded.

    Server-sent events. `id` is the position, `data` the event. The event `caught-up` says that all is sent, `end` that
    no other can match, and `problem` why the stream ends before that. Roles: auditor, compliance.
    """
    negotiate(request, (event_stream.MEDIA_TYPE,))
    return EventStream(services, request, caller, query, last_event_id or 0)


@router.get("/{position}", response_model=ShownEvent, responses=documented(401, 403, 404, 422, 503))
async def get_event(
    services: InjectedServices, caller: MayReadEvents, position: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one event as it was recorded, with the sealed values that the caller may see. Roles: auditor, compliance."""
    return as_json(await read_event(services, caller, position, query), query)
