"""Routes of reviewers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayReview
from api.http.json_route import JsonRoute
from api.http.parameters import WRITTEN, IdempotencyKey, PathId, event_id, recorded
from api.http.problems import documented
from api.sampling import finding
from api.services import InjectedServices
from schema.events import ReviewCase
from schema.reviews import ReviewRange

router = APIRouter(tags=["reviews"], route_class=JsonRoute)


class Reviewed(BaseModel):
    """The review is recorded."""

    request_id: int
    review_id: int


class RangeIs(BaseModel):
    """The review of the range is recorded, as the event at this position; the numbers are those of requests."""

    range: int
    upto: int
    cases: list[int]
    left_out: list[int]


@router.post("/cases/{request_id}/reviews", status_code=201, response_model=Reviewed, responses=WRITTEN)
async def review_case(
    services: InjectedServices,
    caller: MayReview,
    request_id: PathId,
    body: ReviewCase,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that you have looked at a case as of a position, and whether it is of concern. Role: compliance."""
    receipt = await services.ledger.reviews.review(caller, request_id, body, event_id(caller, idempotency_key))
    return recorded(201, {"request_id": request_id, "review_id": receipt.position}, receipt, f"/cases/{request_id}")


@router.post("/reviews", status_code=201, response_model=RangeIs, responses={**WRITTEN, **documented(404)})
async def review_cases(
    services: InjectedServices, caller: MayReview, body: ReviewRange, idempotency_key: IdempotencyKey = None
) -> Response:
    """Record that you have looked at all cases of a client or of a period, as they are now. Role: compliance."""
    ledger, key = services.ledger, event_id(caller, idempotency_key)
    receipt = await ledger.reviews.review_range(caller, body, finding(ledger, body, body.client), key)
    reviewed = (await ledger.reviews.range(receipt)).data
    answer = {"range": receipt.position, **{name: reviewed[name] for name in ("upto", "cases", "left_out")}}
    return recorded(201, answer, receipt, f"/events/{receipt.position}")
