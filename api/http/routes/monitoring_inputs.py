"""Routes that record what monitoring judges by, in batches, all of it or nothing; and lists of what is on record."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayDefinePortfolios, MayReadMonitoring, MayReadPortfolios, MayRecordPrices
from api.http.batches import CSV, RESPONSES, body_of_lines, read_rows, recorded
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import Bounds
from api.http.lists import Page, ReadList, ReadPage
from api.http.media_types import IN_FORMS
from api.http.parameters import FilterText
from api.http.problems import documented
from api.http.read_list import read_list
from api.input_lines import of_each_asset, parse_actions, parse_flows, parse_valuations
from api.services import InjectedServices
from projections.corporate_actions.model import CORPORATE_ACTIONS, CorporateActionRow
from projections.flows.model import FLOWS as FLOW_ROWS
from projections.flows.model import FlowRow
from projections.valuations.model import VALUATIONS as VALUATION_ROWS
from projections.valuations.model import ValuationRow
from schema.portfolios import Day

BATCH = Bounds(MAX_REQUEST_BYTES, 0)
MOST_LINES = 1000
FLOWS = "One flow on each line, of at most 1000: `portfolio`, and the members of a flow."
VALUATIONS = "One portfolio on each line, of at most 1000, or as CSV one of its assets: `asset` and `value`."
ACTIONS = "One corporate action on each line, of at most 1000: `asset`, `date`, `action` and its members."

LISTED = {**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)}

router = APIRouter(tags=["portfolios"])


class Batch(BaseModel):
    """The batch is recorded: how many lines it had, and how many of them were not on record already."""

    lines: int
    recorded: int


class ReadFlows(ReadPage):
    """Query parameters of the list of flows."""

    portfolio: FilterText | None = None
    kind: FilterText | None = None
    date: Day | None = None


class ReadValuations(ReadPage):
    """Query parameters of the list of valuations."""

    portfolio: FilterText | None = None
    source: FilterText | None = None
    valued_on: Day | None = None


class ReadActions(ReadList):
    """Query parameters of the list of corporate actions."""

    asset: FilterText | None = None
    action: FilterText | None = None
    date: Day | None = None


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


@router.get(
    "/corporate-actions",
    response_model=Page[CorporateActionRow],
    responses={**IN_FORMS, **documented(401, 403, 406, 422, 429, 503)},
)
async def list_corporate_actions(
    services: InjectedServices, request: Request, caller: MayReadMonitoring, query: Annotated[ReadActions, Query()]
) -> Response:
    """List corporate actions as they were recorded, the newest first. Roles: admin, advisor, auditor, compliance.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, CORPORATE_ACTIONS, query, CorporateActionRow)


@router.get("/flows", response_model=Page[FlowRow], responses=LISTED)
async def list_flows(
    services: InjectedServices, request: Request, caller: MayReadPortfolios, query: Annotated[ReadFlows, Query()]
) -> Response:
    """List flows as they were recorded, the newest first. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, FLOW_ROWS, query, FlowRow)


@router.get("/valuations", response_model=Page[ValuationRow], responses=LISTED)
async def list_valuations(
    services: InjectedServices, request: Request, caller: MayReadPortfolios, query: Annotated[ReadValuations, Query()]
) -> Response:
    """List valuations as they were recorded, the newest first. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, VALUATION_ROWS, query, ValuationRow)
