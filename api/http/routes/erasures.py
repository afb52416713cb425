"""Routes about erasures of clients: look, request, confirm, decline, read."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from api.erasure_certificate import Certificate, certificate_of
from api.http.auth.permissions import MayErase, MayReadClients, MayReadEvents
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadPage
from api.http.parameters import WRITTEN, IdempotencyKey, NoQuery, PathId, ReadOne, RowId, as_json, event_id, recorded
from api.http.problems import documented
from api.http.read_list import read_page
from api.http.reading import Rows, read_one
from api.http.routes.tlog import inclusion_of
from api.services import InjectedServices
from ledger.database import AsyncConnection
from ledger.domain.client import number_of
from projections import reads
from projections.erasures.model import ERASURES
from projections.scrubbed import ShownErasure, add_scrubbed
from schema.events import ConfirmErasure, DeclineErasure, Forbidden, RequestErasure

router = APIRouter(tags=["erasure"], route_class=JsonRoute)


class ErasureOutlook(BaseModel):
    """What an erasure would delete now, and what forbids it."""

    client: int
    clients: list[int]
    streams: int
    events: int
    values: int
    forbidden: Forbidden | None


class ErasureWaits(BaseModel):
    """The erasure is recorded, and waits for another subject. Its id is the position of the event."""

    client: int
    erasure: int


class ErasureDone(BaseModel):
    """The client is erased, as the event at this position says."""

    client: int
    erasure: int
    event: int


async def _with_scrubs(conn: AsyncConnection, rows: Rows, as_of: reads.AsOf) -> Rows:
    return await add_scrubbed(conn, rows, as_of.position)


class ReadErasures(ReadPage):
    """Query parameters of the list of erasures."""

    client: RowId | None = None
    state: Literal["waiting", "refused", "declined", "erased"] | None = None


@router.get(
    "/clients/{client}/erasure", response_model=ErasureOutlook, responses=documented(401, 403, 404, 409, 422, 503)
)
async def look_at_erasure(services: InjectedServices, caller: MayErase, client: PathId, _query: NoQuery) -> Response:
    """Say what an erasure of the client would delete now, and what forbids it. Records nothing. Role: compliance."""
    found = await services.ledger.erasures.look(caller, client)
    content = ErasureOutlook(
        client=client,
        clients=found.numbers,
        streams=len(found.contents.versions),
        events=found.contents.events,
        values=found.contents.values,
        forbidden=found.forbidden,
    )
    return as_json(content.model_dump(mode="json"))


@router.post("/clients/{client}/erasure", status_code=201, response_model=ErasureWaits, responses=WRITTEN)
async def request_erasure(
    services: InjectedServices,
    caller: MayErase,
    client: PathId,
    body: RequestErasure,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Request the erasure of a client. Another subject confirms it. Role: compliance.

    If a hold or the retention policy forbids it, that is recorded, and the answer is 409.
    """
    receipt = await services.ledger.erasures.request(caller, client, body, event_id(caller, idempotency_key))
    answer = {"client": client, "erasure": receipt.position}
    return recorded(201, answer, receipt, f"/erasures/{receipt.position}")


@router.post("/erasures/{erasure}/confirmations", status_code=201, response_model=ErasureDone, responses=WRITTEN)
async def confirm_erasure(
    services: InjectedServices,
    caller: MayErase,
    erasure: PathId,
    body: ConfirmErasure,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Erase the client, at the request of another subject. It cannot be undone. Role: compliance."""
    receipt = await services.ledger.erasures.confirm(caller, erasure, event_id(caller, idempotency_key))
    answer = {"client": number_of(receipt.stream), "erasure": erasure, "event": receipt.position}
    return recorded(201, answer, receipt, f"/erasures/{erasure}")


@router.post("/erasures/{erasure}/declines", status_code=201, response_model=ErasureDone, responses=WRITTEN)
async def decline_erasure(
    services: InjectedServices,
    caller: MayErase,
    erasure: PathId,
    body: DeclineErasure,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Decline an erasure that waits, or withdraw it. Role: compliance."""
    receipt = await services.ledger.erasures.decline(caller, erasure, body, event_id(caller, idempotency_key))
    answer = {"client": number_of(receipt.stream), "erasure": erasure, "event": receipt.position}
    return recorded(201, answer, receipt, f"/erasures/{erasure}")


@router.get("/erasures", response_model=Page[ShownErasure], responses=documented(401, 403, 404, 422, 429, 503))
async def list_erasures(
    services: InjectedServices, caller: MayReadClients, query: Annotated[ReadErasures, Query()]
) -> Response:
    """List erasures, the newest first, also those that were refused. Roles: advisor, auditor, compliance, examiner."""
    return await read_page(services, caller, ERASURES, query, finish=_with_scrubs)


@router.get("/erasures/{erasure}", response_model=ShownErasure, responses=documented(401, 403, 404, 422, 503))
async def get_erasure(
    services: InjectedServices, caller: MayReadClients, erasure: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one erasure. Roles: advisor, auditor, compliance, examiner."""
    row = await read_one(services, caller, ERASURES, erasure, query, "erasure")

    async def work(conn: AsyncConnection) -> Rows:
        position = None if query.as_of is None else await reads.resolve(conn, query.as_of)
        return await add_scrubbed(conn, [row], position)

    [shown] = await services.ledger.readers.run(work)
    return as_json(shown, query)


@router.get(
    "/erasures/{erasure}/certificate", response_model=Certificate, responses=documented(401, 403, 404, 422, 503)
)
async def get_certificate(
    services: InjectedServices, caller: MayReadEvents, erasure: PathId, _query: NoQuery
) -> Response:
    """Read the certificate of an erasure, to verify offline. It names no client. Roles: auditor, compliance."""
    made = await certificate_of(services.ledger, erasure, lambda position: inclusion_of(services, position))
    return as_json(made.model_dump())
