"""Routes of endpoints, and of the messages that are delivered to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayDefineEndpoints, MayReadDeliveries, MayResendDeliveries
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.media_types import IN_FORMS
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    NoQuery,
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
from api.http.routes.portfolios import PUT
from api.services import InjectedServices
from ledger.domain.monitoring.delivery import stream_of
from ledger.service.monitoring.deliveries import Endpoint
from projections.deliveries.model import DELIVERIES, DeliveryRow
from schema.events import DefineEndpoint, ResendDelivery
from schema.fields import Code
from schema.states import DeliveryState

router = APIRouter(tags=["deliveries"], route_class=JsonRoute)

Name = Annotated[Code, Path(description="The name of the endpoint.")]


class EndpointRecorded(BaseModel):
    """The event on record. `changed` is false if the endpoint was defined so already."""

    endpoint: str
    event: int
    changed: bool


class EndpointShown(BaseModel):
    """An endpoint as it is defined now, by whom and since when."""

    endpoint: str
    channel: str
    url: str | None
    receivers: list[str]
    messages_per_hour: int
    enabled: bool
    event: int
    defined_by: str
    defined_at: datetime


class EndpointList(BaseModel):
    """All endpoints, in the order of their names."""

    items: list[EndpointShown]


class DeliveryWaits(BaseModel):
    """The message is sent again, by the event at this position."""

    delivery: int
    event: int


class ReadDeliveries(ReadList):
    """Query parameters of the list of deliveries."""

    run: RowId | None = None
    endpoint: FilterText | None = None
    state: DeliveryState | None = None


@router.put("/endpoints/{name}", status_code=201, response_model=EndpointRecorded, responses=PUT)
async def define_endpoint(
    services: InjectedServices,
    caller: MayDefineEndpoints,
    name: Name,
    body: DefineEndpoint,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Define where messages go, or that they go there no longer. Role: admin."""
    receipt, changed = await services.ledger.deliveries.define(caller, name, body, event_id(caller, idempotency_key))
    answer = {"endpoint": name, "event": receipt.position, "changed": changed}
    return recorded(201 if changed else 200, answer, receipt, f"/endpoints/{name}")


@router.get("/endpoints", response_model=EndpointList, responses=documented(401, 403, 422, 503))
async def list_endpoints(services: InjectedServices, caller: MayReadDeliveries, _query: NoQuery) -> Response:
    """List all endpoints: there are 50 at most. Roles: admin, auditor, compliance."""
    return as_json({"items": [_shown(one) for one in (await services.ledger.deliveries.endpoints()).values()]})


@router.get("/endpoints/{name}", response_model=EndpointShown, responses=documented(401, 403, 404, 422, 503))
async def get_endpoint(services: InjectedServices, caller: MayReadDeliveries, name: Name, _query: NoQuery) -> Response:
    """Read one endpoint. Roles: admin, auditor, compliance."""
    return as_json(_shown(await services.ledger.deliveries.endpoint(name)))


@router.get(
    "/deliveries",
    response_model=Page[DeliveryRow],
    responses={**IN_FORMS, **documented(401, 403, 406, 422, 429, 503)},
)
async def list_deliveries(
    services: InjectedServices, request: Request, caller: MayReadDeliveries, query: Annotated[ReadDeliveries, Query()]
) -> Response:
    """List messages to endpoints, the newest first. Roles: admin, auditor, compliance.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, DELIVERIES, query, DeliveryRow)


@router.get("/deliveries/{delivery}", response_model=DeliveryRow, responses=documented(401, 403, 404, 422, 503))
async def get_delivery(
    services: InjectedServices, caller: MayReadDeliveries, delivery: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one message: what became of it. Roles: admin, auditor, compliance."""
    row = await read_one(services, caller, DELIVERIES, delivery, query, "delivery", stream_of(delivery))
    return as_json(row, query)


@router.post("/deliveries/{delivery}/resends", status_code=201, response_model=DeliveryWaits, responses=WRITTEN)
async def resend_delivery(
    services: InjectedServices,
    caller: MayResendDeliveries,
    delivery: PathId,
    body: ResendDelivery,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have a message sent again that was given up, under the same id. Roles: admin, compliance."""
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.deliveries.resend(caller, delivery, body, key)
    if services.job_runner is not None:
        services.job_runner.wake()
    return recorded(201, {"delivery": delivery, "event": receipt.position}, receipt, f"/deliveries/{delivery}")


def _shown(endpoint: Endpoint) -> dict[str, object]:
    return {
        "endpoint": endpoint.name,
        **endpoint.definition.model_dump(),
        "event": endpoint.position,
        "defined_by": endpoint.defined_by,
        "defined_at": endpoint.recorded_at,
    }
