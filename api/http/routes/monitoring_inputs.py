"""Routes that record what monitoring judges by, in batches: all of it, or nothing."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayRecordPrices
from api.http.batches import CSV, RESPONSES, body_of_lines, read_rows, recorded
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import Bounds
from api.input_lines import parse_actions
from api.services import InjectedServices

BATCH = Bounds(MAX_REQUEST_BYTES, 0)
MOST_LINES = 1000
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
