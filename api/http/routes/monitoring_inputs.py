"""Routes that record what monitoring judges by, in batches: all of it, or nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayDefinePortfolios, MayRecordPrices
from api.http.batches import CSV, RESPONSES, body_of_lines, read_rows, recorded
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import Bounds
from api.input_lines import of_each_asset, parse_actions, parse_flows, parse_valuations
from api.services import InjectedServices

BATCH = Bounds(MAX_REQUEST_BYTES, 0)
MOST_LINES = 1000
FLOWS = "One flow on each line, of at most 1000: `portfolio`, and the members of a flow."
VALUATIONS = "One portfolio on each line, of at most 1000, or as CSV one of its assets: `asset` and `value`."
ACTIONS = "One corporate action on each line, of at most 1000: `asset`, `date`, `action` and its members."

router = APIRouter(tags=["portfolios"])


class Batch(BaseModel):
    """The batch is recorded: how many lines it had, and how many of them were not on record already."""

    lines: int
    recorded: int


@router.post("/corporate-actions", response_model=Batch, responses=RESPONSES, openapi_extra=body_of_lines(ACTIONS, CSV))
async def record_corporate_actions(services: InjectedServices, caller: MayRecordPrices, request: Request) -> Response:
    """Record splits, new identifiers and delistings, all or none; what is on record, not again. Role: admin."""
    found = parse_actions(await read_rows(request, BATCH, MOST_LINES))
    receipts = await services.ledger.corporate_actions.record(caller, found)
    return recorded({"lines": len(found), "recorded": len(receipts)}, receipts)


@router.post("/flows", response_model=Batch, responses=RESPONSES, openapi_extra=body_of_lines(FLOWS, CSV))
async def record_flows(services: InjectedServices, caller: MayDefinePortfolios, request: Request) -> Response:
    """Record what came into portfolios and went out, all or none; what is on record, not again. Role: advisor."""
    found = parse_flows(await read_rows(request, BATCH, MOST_LINES))
    receipts = await services.ledger.flows.record(caller, found)
    return recorded({"lines": len(found), "recorded": len(receipts)}, receipts)


@router.post("/valuations", response_model=Batch, responses=RESPONSES, openapi_extra=body_of_lines(VALUATIONS, CSV))
async def record_valuations(services: InjectedServices, caller: MayDefinePortfolios, request: Request) -> Response:
    """Record portfolios as a custodian has valued them, all or none; what is on record, not again. Role: advisor."""
    found = parse_valuations(await read_rows(request, BATCH, MOST_LINES, of_each_asset))
    receipts = await services.ledger.valuations.record(caller, found)
    return recorded({"lines": len(found), "recorded": len(receipts)}, receipts)
