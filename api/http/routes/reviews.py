"""Routes of reviewers."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayReview
from api.http.json_route import JsonRoute
from api.http.parameters import WRITTEN, IdempotencyKey, PathId, event_id, recorded
from api.services import InjectedServices
from schema.events import ReviewCase

router = APIRouter(tags=["cases"], route_class=JsonRoute)


class Reviewed(BaseModel):
    """The review is recorded."""

    request_id: int
    review_id: int


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
