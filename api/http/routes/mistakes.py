"""Routes to take something back: withdraw a request or a decision, revoke a decision."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayDecide, MayRevoke, MayWithdraw
from api.http.json_route import JsonRoute
from api.http.parameters import WRITTEN, IdempotencyKey, PathId, event_id, recorded
from api.http.routes.decisions import Confirmed, members_of
from api.services import InjectedServices
from schema.events import RevokeDecision, WithdrawDecision, WithdrawRequest
from schema.states import RequestState

router = APIRouter(tags=["decisions"], route_class=JsonRoute)


class Withdrawn(BaseModel):
    """The request is withdrawn."""

    request_id: int
    status: Literal[RequestState.WITHDRAWN]


@router.post(
    "/portfolio/requests/{request_id}/withdrawals", status_code=201, response_model=Withdrawn, responses=WRITTEN
)
async def withdraw_request(
    services: InjectedServices,
    caller: MayWithdraw,
    request_id: PathId,
    body: WithdrawRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Withdraw a request that was a mistake or is not needed any more. Role: advisor or compliance."""
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.mistakes.withdraw_request(caller, request_id, body, key)
    after = {"request_id": request_id, "status": RequestState.WITHDRAWN}
    return recorded(201, after, receipt, f"/portfolio/requests/{request_id}")


@router.post("/decisions/{decision_id}/withdrawals", status_code=201, response_model=Confirmed, responses=WRITTEN)
async def withdraw_decision(
    services: InjectedServices,
    caller: MayDecide,
    decision_id: PathId,
    body: WithdrawDecision,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take back your own decision while it waits for a confirmation. Role: advisor."""
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.mistakes.withdraw_decision(caller, decision_id, body, key)
    after = members_of(await services.ledger.decisions.recommendation_after(receipt))
    return recorded(201, {**after, "decision_id": decision_id}, receipt, f"/decisions/{decision_id}")


@router.post("/decisions/{decision_id}/revocations", status_code=201, response_model=Confirmed, responses=WRITTEN)
async def revoke_decision(
    services: InjectedServices,
    caller: MayRevoke,
    decision_id: PathId,
    body: RevokeDecision,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Revoke an approval, an edit or a rejection before the client is told. Role: advisor or compliance."""
    receipt = await services.ledger.mistakes.revoke(caller, decision_id, body, event_id(caller, idempotency_key))
    after = members_of(await services.ledger.decisions.recommendation_after(receipt))
    return recorded(201, {**after, "decision_id": decision_id}, receipt, f"/decisions/{decision_id}")
