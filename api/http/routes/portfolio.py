"""Routes to request a recommendation, to answer a request, and to read requests."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.http.auth.permissions import MayAnswer, MayReadCases, MayReadContexts, MayRequest
from api.http.json_route import JsonRoute
from api.http.lists import MOST_STATES, SEVERAL, Page, ReadOfRequests
from api.http.media_types import IN_FORMS
from api.http.parameters import (
    RECORDED_HEADERS,
    WRITTEN,
    FilterText,
    IdempotencyKey,
    PathId,
    ReadOne,
    RowId,
    as_json,
    event_id,
    not_found,
    recorded,
)
from api.http.problems import documented
from api.http.read_list import read_list
from api.http.reading import read_context, read_one, record_read
from api.http.signature import SignatureHeader, signature_of
from api.services import InjectedServices
from ledger.domain.case import CATEGORY, stream_of
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS, PortfolioRequest, RequestSummary
from schema.events import CallStart, Outcome, RecommendationRecorded, RequestFailed, RequestPortfolio
from schema.fields import RiskProfile
from schema.states import RecommendationState, RequestState

router = APIRouter(prefix="/portfolio", tags=["portfolio"], route_class=JsonRoute)


class Queued(BaseModel):
    """The request is recorded and waits for an agent."""

    request_id: int
    status: Literal[RequestState.QUEUED]


class RecommendationMade(BaseModel):
    """The agent's answer is recorded."""

    recommendation_id: int
    request_id: int


class RequestEnded(BaseModel):
    """The request has failed."""

    request_id: int
    status: Literal[RequestState.FAILED]


class CallStarted(BaseModel):
    """The start of the call is recorded: the agent may make the call."""

    model_call_id: int
    request_id: int


class ContextRequest(BaseModel):
    """A request without the client's identity."""

    request_id: int
    risk_profile: RiskProfile
    amount_usd: Decimal
    horizon_years: int | None
    objectives: list[str]
    constraints: dict[str, JsonValue]
    notes: str | None


class EarlierRecommendation(BaseModel):
    """An earlier recommendation for the same client, and the decision on it."""

    id: int
    request_id: int
    recommendation: dict[str, JsonValue] | None
    model_name: str
    model_version: str | None
    state: RecommendationState
    decision_id: int | None
    outcome: Outcome | None
    reason_code: str | None
    rationale: str | None
    replacement: dict[str, JsonValue] | None
    response: str | None


class Context(BaseModel):
    """The input of an agent, all of it as of one ledger position."""

    as_of: int
    request: ContextRequest
    earlier: list[EarlierRecommendation]


class ReadContext(BaseModel):
    """Query parameters of a context: the ledger position to read as of. Default: the newest."""

    model_config = ConfigDict(extra="forbid")

    as_of: RowId | None = None


class ReadRequests(ReadOfRequests):
    """Query parameters of the list of requests."""

    status: Annotated[list[RequestState], MOST_STATES] | None = Field(None, description=SEVERAL)
    risk_profile: RiskProfile | None = None
    portfolio: FilterText | None = None


@router.post(
    "/recommendations",
    status_code=202,
    response_model=Queued,
    responses={202: {"headers": RECORDED_HEADERS}, **documented(400, 401, 403, 404, 409, 413, 415, 422, 503)},
)
async def request_recommendation(
    services: InjectedServices, caller: MayRequest, body: RequestPortfolio, idempotency_key: IdempotencyKey = None
) -> Response:
    """Request a recommendation for a client's money. Role: advisor."""
    receipt = await services.ledger.requests.request_recommendation(caller, body, event_id(caller, idempotency_key))
    request_id = int(receipt.stream.removeprefix(CATEGORY))
    return recorded(
        202, {"request_id": request_id, "status": RequestState.QUEUED}, receipt, f"/portfolio/requests/{request_id}"
    )


@router.post(
    "/requests/{request_id}/recommendations",
    status_code=201,
    response_model=RecommendationMade,
    responses=WRITTEN,
)
async def record_recommendation(
    services: InjectedServices,
    caller: MayAnswer,
    request_id: PathId,
    answer: RecommendationRecorded,
    idempotency_key: IdempotencyKey = None,
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Record an agent's answer to a queued request. Role: agent."""
    signature = signature_of(idempotency_key, ledger_signature)
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.requests.answer(caller, request_id, answer, key, signature=signature)
    made = {"recommendation_id": receipt.position, "request_id": request_id}
    return recorded(201, made, receipt, f"/recommendations/{receipt.position}")


@router.post(
    "/requests/{request_id}/failures",
    status_code=201,
    response_model=RequestEnded,
    responses=WRITTEN,
)
async def record_failure(
    services: InjectedServices,
    caller: MayAnswer,
    request_id: PathId,
    failure: RequestFailed,
    idempotency_key: IdempotencyKey = None,
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Record that a queued request gets no recommendation, and why. Nothing can follow. Role: agent."""
    signature = signature_of(idempotency_key, ledger_signature)
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.requests.answer(caller, request_id, failure, key, signature=signature)
    return recorded(
        201, {"request_id": request_id, "status": RequestState.FAILED}, receipt, f"/portfolio/requests/{request_id}"
    )


@router.get("/requests/{request_id}/context", response_model=Context, responses=documented(401, 403, 404, 422, 503))
async def get_context(
    services: InjectedServices, caller: MayReadContexts, request_id: PathId, query: Annotated[ReadContext, Query()]
) -> Response:
    """Read the input of an agent: the request, and earlier recommendations for the client.

    Roles: advisor, compliance, examiner, agent.

    Record `as_of`, and the ids of everything that your model is shown, with the model call.
    """
    context = await read_context(services, caller, request_id, query.as_of)
    if context is None:
        raise not_found("request")
    await record_read(services, caller, query, [request_id], 1)
    return as_json(context)


@router.post(
    "/requests/{request_id}/model-calls",
    status_code=201,
    response_model=CallStarted,
    responses=WRITTEN,
)
async def start_model_call(
    services: InjectedServices,
    caller: MayAnswer,
    request_id: PathId,
    call: CallStart,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that a model is about to be called for a request, and its input. Role: agent."""
    receipt = await services.ledger.requests.start_call(caller, request_id, call, event_id(caller, idempotency_key))
    started = {"model_call_id": receipt.position, "request_id": request_id}
    return recorded(201, started, receipt, f"/model-calls/{receipt.position}")


@router.get(
    "/requests",
    response_model=Page[PortfolioRequest | RequestSummary],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_requests(
    services: InjectedServices, request: Request, caller: MayReadCases, query: Annotated[ReadRequests, Query()]
) -> Response:
    """List requests. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, PORTFOLIO_REQUESTS, query, PortfolioRequest)


@router.get("/requests/{request_id}", response_model=PortfolioRequest, responses=documented(401, 403, 404, 422, 503))
async def get_request(
    services: InjectedServices, caller: MayReadCases, request_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one request. Roles: advisor, compliance, examiner."""
    row = await read_one(services, caller, PORTFOLIO_REQUESTS, request_id, query, "request", stream_of(request_id))
    return as_json(row, query)
