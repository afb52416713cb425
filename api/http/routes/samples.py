"""Routes of samples and of the queue of reviews: draw, read, reassign."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.http.auth.permissions import MayDraw, MayReadReviews
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.media_types import IN_FORMS
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    PathId,
    ReadOne,
    RowId,
    as_json,
    event_id,
    recorded,
)
from api.http.problems import documented
from api.http.read_list import read_list, read_page
from api.http.reading import read_one
from api.sampling import finding
from api.services import InjectedServices
from ledger.domain.sampling import stream_of
from projections.review_items.model import REVIEW_ITEMS, ReviewItemRow
from projections.samples.model import SAMPLES, SampleRow
from schema.clients import Second
from schema.samples import DrawSample, ReassignReview
from schema.states import ReviewItemState

router = APIRouter(tags=["reviews"], route_class=JsonRoute)


class Drawn(BaseModel):
    """The sample is recorded, as the event at this position; `chosen` are ids of decisions."""

    sample: int
    position: int
    seed: str
    population: int
    chosen: list[int]


class Reassigned(BaseModel):
    """The item has another assignee, by the event at this position."""

    item: int
    event: int


class ReadSamples(ReadList):
    """Query parameters of the list of samples."""

    drawn_by: FilterText | None = Field(None, description="Drawn by this subject.")


class ReadQueue(ReadList):
    """Query parameters of the queue of reviews."""

    assignee: FilterText | None = Field(
        None, description="Items of this subject; your own by default, and all of a sample if it is named."
    )
    sample: RowId | None = None
    state: ReviewItemState | None = None
    request_id: RowId | None = None
    due_before: Second | None = Field(None, description="Due before this time, such as 2027-01-31T00:00:00Z.")


@router.post("/samples", status_code=201, response_model=Drawn, responses=WRITTEN)
async def draw_sample(
    services: InjectedServices, caller: MayDraw, body: DrawSample, idempotency_key: IdempotencyKey = None
) -> Response:
    """Draw a sample of decisions and assign each that was chosen to a reviewer. Role: compliance."""
    ledger, key = services.ledger, event_id(caller, idempotency_key)
    receipt = await ledger.samples.draw(caller, body, finding(ledger, body), key)
    number = int(receipt.stream.rpartition("-")[2])
    drawn = (await ledger.samples.get(number)).data
    answer: dict[str, Any] = {"sample": number, "position": receipt.position}
    answer |= {name: drawn[name] for name in ("seed", "population", "chosen")}
    return recorded(201, answer, receipt, f"/samples/{number}")


@router.get("/samples", response_model=Page[SampleRow], responses=documented(401, 403, 422, 429, 503))
async def list_samples(
    services: InjectedServices, caller: MayReadReviews, query: Annotated[ReadSamples, Query()]
) -> Response:
    """List samples, the newest first. Roles: auditor, compliance."""
    return await read_page(services, caller, SAMPLES, query)


@router.get("/samples/{sample}", response_model=SampleRow, responses=documented(401, 403, 404, 422, 503))
async def get_sample(
    services: InjectedServices, caller: MayReadReviews, sample: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read a sample: how it was drawn, and what it chose. Roles: auditor, compliance."""
    row = await read_one(services, caller, SAMPLES, sample, query, "sample", stream_of(sample))
    return as_json(row, query)


@router.get(
    "/reviews/queue",
    response_model=Page[ReviewItemRow],
    responses={**IN_FORMS, **documented(401, 403, 406, 422, 429, 503)},
)
async def read_queue(
    services: InjectedServices, request: Request, caller: MayReadReviews, query: Annotated[ReadQueue, Query()]
) -> Response:
    """List what is to be reviewed, by whom. Roles: auditor, compliance."""
    if query.assignee is None and query.sample is None:
        query = query.model_copy(update={"assignee": caller.actor.id})
    return await read_list(services, request, caller, REVIEW_ITEMS, query, ReviewItemRow)


@router.post("/review-items/{item}/reassignments", status_code=201, response_model=Reassigned, responses=WRITTEN)
async def reassign_review(
    services: InjectedServices,
    caller: MayDraw,
    item: PathId,
    body: ReassignReview,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give an item of a sample to another reviewer. Role: compliance."""
    receipt = await services.ledger.samples.reassign(caller, item, body, event_id(caller, idempotency_key))
    return recorded(201, {"item": item, "event": receipt.position}, receipt, "/reviews/queue")
