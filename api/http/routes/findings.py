"""Routes of findings: open, assign, close, read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.http.auth.permissions import MayHandleFindings, MayReadCases
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.media_types import IN_FORMS
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    PathId,
    ReadOne,
    RowId,
    as_json,
    event_id,
    recorded,
)
from api.http.problems import documented
from api.http.read_list import read_list
from api.http.reading import read_one
from api.services import InjectedServices
from ledger.store.events import Receipt
from projections.findings.model import FINDINGS, FindingRow
from schema.findings import AssignFinding, CloseFinding, OpenCaseFinding, OpenFinding, Resolution, Severity
from schema.states import FindingState

router = APIRouter(tags=["reviews"], route_class=JsonRoute)


class FindingIs(BaseModel):
    """The finding, and the position of the event that was recorded about it."""

    finding: int
    event: int


class ReadFindings(ReadList):
    """Query parameters of the list of findings."""

    client_id: FilterText | None = None
    request_id: RowId | None = None
    client: RowId | None = Field(None, description="About this client, by number, and not about a case.")
    decision_id: RowId | None = None
    severity: Severity | None = None
    state: FindingState | None = None
    assignee: FilterText | None = None
    opened_by: FilterText | None = None
    resolution: Resolution | None = None


@router.post("/cases/{request_id}/findings", status_code=201, response_model=FindingIs, responses=WRITTEN)
async def open_case_finding(
    services: InjectedServices,
    caller: MayHandleFindings,
    request_id: PathId,
    body: OpenCaseFinding,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Open a finding about a case, or about one of its decisions. Role: compliance."""
    key = event_id(caller, idempotency_key)
    return _answer(await services.ledger.findings.open_in_case(caller, request_id, body, key))


@router.post("/clients/{client}/findings", status_code=201, response_model=FindingIs, responses=WRITTEN)
async def open_client_finding(
    services: InjectedServices,
    caller: MayHandleFindings,
    client: PathId,
    body: OpenFinding,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Open a finding about a client. Role: compliance."""
    key = event_id(caller, idempotency_key)
    return _answer(await services.ledger.findings.open_of_client(caller, client, body, key))


@router.post("/findings/{finding}/assignments", status_code=201, response_model=FindingIs, responses=WRITTEN)
async def assign_finding(
    services: InjectedServices,
    caller: MayHandleFindings,
    finding: PathId,
    body: AssignFinding,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Say who sees to a finding. Role: compliance."""
    key = event_id(caller, idempotency_key)
    return _answer(await services.ledger.findings.assign(caller, finding, body, key), finding)


@router.post("/findings/{finding}/closings", status_code=201, response_model=FindingIs, responses=WRITTEN)
async def close_finding(
    services: InjectedServices,
    caller: MayHandleFindings,
    finding: PathId,
    body: CloseFinding,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Close a finding, for good. Role: compliance."""
    key = event_id(caller, idempotency_key)
    return _answer(await services.ledger.findings.close(caller, finding, body, key), finding)


@router.get(
    "/findings",
    response_model=Page[FindingRow],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_findings(
    services: InjectedServices, request: Request, caller: MayReadCases, query: Annotated[ReadFindings, Query()]
) -> Response:
    """List findings, the newest first. Roles: advisor, compliance, examiner."""
    return await read_list(services, request, caller, FINDINGS, query, FindingRow)


@router.get("/findings/{finding}", response_model=FindingRow, responses=documented(401, 403, 404, 422, 503))
async def get_finding(
    services: InjectedServices, caller: MayReadCases, finding: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one finding. Roles: advisor, compliance, examiner."""
    return as_json(await read_one(services, caller, FINDINGS, finding, query, "finding"), query)


def _answer(receipt: Receipt, finding: int | None = None) -> Response:
    """Answer with the id of the finding: without one, the event that was recorded opened it."""
    number = receipt.position if finding is None else finding
    return recorded(201, {"finding": number, "event": receipt.position}, receipt, f"/findings/{number}")
