"""Routes about legal holds: place, release, read."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayHold, MayReadClients
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadPage
from api.http.parameters import WRITTEN, IdempotencyKey, PathId, ReadOne, RowId, as_json, event_id, recorded
from api.http.problems import documented
from api.http.read_list import read_page
from api.http.reading import read_one
from api.services import InjectedServices
from ledger.service.legal_holds import client_of
from projections.legal_holds.model import LEGAL_HOLDS, LegalHoldRow
from schema.events import PlaceHold, ReleaseHold

router = APIRouter(tags=["legal holds"], route_class=JsonRoute)


class HoldPlaced(BaseModel):
    """The hold is recorded. Its id is the position of the event."""

    client: int
    hold: int


class HoldReleased(BaseModel):
    """The release is recorded, as the event at this position."""

    client: int
    hold: int
    event: int


class ReadHolds(ReadPage):
    """Query parameters of the list of legal holds."""

    client: RowId | None = None
    request_id: RowId | None = None
    state: Literal["active", "released"] | None = None


@router.post("/clients/{client}/legal-holds", status_code=201, response_model=HoldPlaced, responses=WRITTEN)
async def place_hold(
    services: InjectedServices,
    caller: MayHold,
    client: PathId,
    body: PlaceHold,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Place a legal hold on a client, or on one of its cases. Role: compliance."""
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.legal_holds.place(caller, client, body, key)
    answer = {"client": client, "hold": receipt.position}
    return recorded(201, answer, receipt, f"/legal-holds/{receipt.position}")


@router.post("/legal-holds/{hold}/releases", status_code=201, response_model=HoldReleased, responses=WRITTEN)
async def release_hold(
    services: InjectedServices,
    caller: MayHold,
    hold: PathId,
    body: ReleaseHold,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Release a legal hold. Role: compliance."""
    receipt = await services.ledger.legal_holds.release(caller, hold, body, event_id(caller, idempotency_key))
    answer = {"client": client_of(receipt), "hold": hold, "event": receipt.position}
    return recorded(201, answer, receipt, f"/legal-holds/{hold}")


@router.get("/legal-holds", response_model=Page[LegalHoldRow], responses=documented(401, 403, 404, 422, 429, 503))
async def list_holds(
    services: InjectedServices, caller: MayReadClients, query: Annotated[ReadHolds, Query()]
) -> Response:
    """List legal holds, the newest first. Roles: advisor, auditor, compliance, examiner."""
    return await read_page(services, caller, LEGAL_HOLDS, query)


@router.get("/legal-holds/{hold}", response_model=LegalHoldRow, responses=documented(401, 403, 404, 422, 503))
async def get_hold(
    services: InjectedServices, caller: MayReadClients, hold: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one legal hold. Roles: advisor, auditor, compliance, examiner."""
    row = await read_one(services, caller, LEGAL_HOLDS, hold, query, "legal-hold")
    return as_json(row, query)
