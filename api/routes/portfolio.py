"""Requests for a recommendation, and the answers to them."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.auth import Answerer, Reader, Requester
from api.errors import documented
from api.routes.common import (
    RECORDED_HEADERS,
    IdempotencyKey,
    Page,
    PathId,
    ReadOne,
    ReadPage,
    as_json,
    event_id,
    not_found,
    recorded,
)
from api.routes.json_body import JsonRoute
from api.routes.lists import read_one, read_page
from api.service import Ledger
from ledger.commands.request import CATEGORY, stream_of
from schema.events import PortfolioRequested, RecommendationRecorded
from schema.fields import Constraints, RiskProfile

router = APIRouter(prefix="/portfolio", tags=["portfolio"], route_class=JsonRoute)

Status = Literal["queued", "recommended", "failed"]


class Queued(BaseModel):
    """The request is recorded and waits for an agent."""

    request_id: int
    status: Literal["queued"]


class RecommendationMade(BaseModel):
    """The agent's answer is recorded."""

    recommendation_id: int
    request_id: int


class PortfolioRequest(BaseModel):
    """A request, as it stands. Sealed values that were erased are null."""

    id: int
    client_id: str | None
    risk_profile: RiskProfile
    amount_usd: Decimal
    horizon_years: int | None
    objectives: list[str] | None
    constraints: Constraints | None
    notes: str | None
    status: Status
    recommendation_id: int | None
    failure_reason: str | None
    failure_detail: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime


class ReadRequests(ReadPage):
    """The list of requests and its filters."""

    status: Status | None = None
    risk_profile: RiskProfile | None = None


@router.post(
    "/recommendations",
    status_code=202,
    response_model=Queued,
    responses={202: {"headers": RECORDED_HEADERS}, **documented(400, 401, 403, 409, 413, 415, 422, 503)},
)
async def request_recommendation(
    request: Request, caller: Requester, asked: PortfolioRequested, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ask for a recommendation for a client's money. Role: advisor."""
    ledger: Ledger = request.app.state.ledger
    at = await ledger.request_portfolio(caller, asked, event_id(caller, idempotency_key))
    request_id = int(at.stream.removeprefix(CATEGORY))
    return recorded(202, {"request_id": request_id, "status": "queued"}, at, f"/portfolio/requests/{request_id}")


@router.post(
    "/requests/{request_id}/recommendations",
    status_code=201,
    response_model=RecommendationMade,
    responses={201: {"headers": RECORDED_HEADERS}, **documented(400, 401, 403, 404, 409, 413, 415, 422, 503)},
)
async def record_recommendation(
    request: Request,
    caller: Answerer,
    request_id: PathId,
    answer: RecommendationRecorded,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record an agent's answer to a queued request. Role: agent."""
    ledger: Ledger = request.app.state.ledger
    at = await ledger.answer_request(caller, request_id, answer, event_id(caller, idempotency_key))
    made = {"recommendation_id": at.position, "request_id": request_id}
    return recorded(201, made, at, f"/recommendations/{at.position}")


@router.get("/requests", response_model=Page[PortfolioRequest], responses=documented(401, 403, 422, 503))
async def list_requests(request: Request, caller: Reader, asked: Annotated[ReadRequests, Query()]) -> Response:
    """Requests, the newest first. Any role."""
    return await read_page(request.app.state.ledger, "portfolio_requests", asked)


@router.get("/requests/{request_id}", response_model=PortfolioRequest, responses=documented(401, 403, 404, 422, 503))
async def get_request(
    request: Request, caller: Reader, request_id: PathId, asked: Annotated[ReadOne, Query()]
) -> Response:
    """One request. Any role."""
    row = await read_one(request.app.state.ledger, "portfolio_requests", request_id, asked, stream_of(request_id))
    if row is None:
        raise not_found("request")
    return as_json(row)
