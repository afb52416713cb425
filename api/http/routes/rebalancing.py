"""The route by which a person asks for advice about a portfolio."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayRequest
from api.http.json_route import JsonRoute
from api.http.parameters import WRITTEN, IdempotencyKey, event_id, recorded
from api.http.routes.portfolios import Name
from api.services import InjectedServices
from schema.events import RequestRebalancing

router = APIRouter(tags=["portfolios"], route_class=JsonRoute)


class RebalancingRequested(BaseModel):
    """The request for advice. `joined`: it was open already, and takes this reason in."""

    portfolio: str
    request_id: int
    joined: bool
    event: int


@router.post("/portfolios/{name}/rebalancing", status_code=201, response_model=RebalancingRequested, responses=WRITTEN)
async def request_rebalancing(
    services: InjectedServices,
    caller: MayRequest,
    name: Name,
    body: RequestRebalancing,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask an agent for advice about a portfolio, or join the request that is open. Role: advisor."""
    key = event_id(caller, idempotency_key)
    opened = await services.ledger.rebalancing.request(caller, name, body, key)
    answer = {
        "portfolio": name,
        "request_id": opened.request_id,
        "joined": opened.joined,
        "event": opened.receipt.position,
    }
    return recorded(201, answer, opened.receipt, f"/portfolio/requests/{opened.request_id}")
