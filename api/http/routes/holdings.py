"""The route that records the holdings of many portfolios at once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.holdings_lines import parse
from api.http.auth.permissions import MayDefinePortfolios
from api.http.batches import RESPONSES, body_of_lines, read_lines, recorded
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import Bounds
from api.services import InjectedServices
from ledger.service.monitoring.bulk_holdings import MOST_LINES

HOLDINGS = Bounds(MAX_REQUEST_BYTES, 0)
LINES = "One portfolio on each line, of at most 1000: `portfolio`, and the members of holdings."

router = APIRouter(tags=["portfolios"])


class HoldingsOfMany(BaseModel):
    """The batch is recorded: how many lines it had, and how many of them were not on record already."""

    lines: int
    recorded: int


@router.post("/holdings", response_model=HoldingsOfMany, responses=RESPONSES, openapi_extra=body_of_lines(LINES))
async def record_holdings_of_many(
    services: InjectedServices, caller: MayDefinePortfolios, request: Request
) -> Response:
    """Record the holdings of many portfolios, all or none. What is on record is not recorded again. Role: advisor."""
    found = parse(await read_lines(request, HOLDINGS, MOST_LINES))
    receipts = await services.ledger.holdings.record(caller, found)
    return recorded({"lines": len(found), "recorded": len(receipts)}, receipts)
