"""Routes about clients: register, look up, add an alias, merge, assign. Paths have numbers, never identifiers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.http.auth.permissions import MayAssign, MayMerge, MayReadClients, MayRegisterClients
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.parameters import WRITTEN, FilterText, IdempotencyKey, PathId, ReadOne, RowId, as_json, event_id, recorded
from api.http.problems import documented
from api.http.read_list import read_page
from api.http.reading import read_names, read_one
from api.services import InjectedServices
from ledger.domain.client import number_of, stream_of
from ledger.store.events import Receipt
from projections.clients.model import CLIENTS, ClientRow, prefix_range
from schema.events import AddAlias, ClientAssigned, ClientMerged, ClientRegistered, ClientUnassigned

router = APIRouter(prefix="/clients", tags=["clients"], route_class=JsonRoute)


class Registered(BaseModel):
    """The client, or the alias, is registered under this number."""

    client: int


class Changed(BaseModel):
    """The change is recorded, as the event at this position."""

    client: int
    event: int


class NamedClient(BaseModel):
    """An identifier of a client, and its number. The identifier is null once it is erased."""

    client: int
    client_id: str | None


class ClientInFull(ClientRow):
    """A client with all identifiers that are one client with it, merged ones and aliases included."""

    names: list[NamedClient]


class ReadClients(ReadList):
    """Query parameters of the list of clients."""

    client_id: FilterText | None = None
    prefix: FilterText | None = Field(None, description="Only identifiers that begin with this text.")
    subject: FilterText | None = Field(None, description="Only clients with an assignment to this subject.")
    group: FilterText | None = Field(None, description="Only clients with an assignment to this group.")
    merged_into: RowId | None = None

    def filters(self) -> dict[str, object]:
        """Return the filters; the prefix as the range that it is."""
        found = super().filters()
        prefix = found.pop("prefix", None)
        return found if prefix is None else {**found, **prefix_range(str(prefix))}


@router.post("", status_code=201, response_model=Registered, responses=WRITTEN)
async def register_client(
    services: InjectedServices,
    caller: MayRegisterClients,
    body: ClientRegistered,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register a client. Roles: admin, advisor, compliance."""
    receipt = await services.ledger.clients.register(caller, body, event_id(caller, idempotency_key))
    return _registered(receipt)


@router.post("/{client}/aliases", status_code=201, response_model=Registered, responses=WRITTEN)
async def add_alias(
    services: InjectedServices, caller: MayMerge, client: PathId, body: AddAlias, idempotency_key: IdempotencyKey = None
) -> Response:
    """Add another identifier of a client. Role: compliance."""
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.clients.alias(caller, client, body.client_id, key)
    return _registered(receipt)


@router.post("/{client}/merges", status_code=201, response_model=Changed, responses=WRITTEN)
async def merge_client(
    services: InjectedServices,
    caller: MayMerge,
    client: PathId,
    body: ClientMerged,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that this client is another one. It cannot be undone. Role: compliance."""
    receipt = await services.ledger.clients.merge(caller, client, body, event_id(caller, idempotency_key))
    return _changed(client, receipt)


@router.post("/{client}/assignments", status_code=201, response_model=Changed, responses=WRITTEN)
async def assign_client(
    services: InjectedServices,
    caller: MayAssign,
    client: PathId,
    body: ClientAssigned,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Assign a client to a subject or a group. Roles: admin, compliance."""
    receipt = await services.ledger.clients.assign(caller, client, body, event_id(caller, idempotency_key))
    return _changed(client, receipt)


@router.post("/{client}/unassignments", status_code=201, response_model=Changed, responses=WRITTEN)
async def unassign_client(
    services: InjectedServices,
    caller: MayAssign,
    client: PathId,
    body: ClientUnassigned,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """End the assignment of a client to a subject or a group. Roles: admin, compliance."""
    receipt = await services.ledger.clients.unassign(caller, client, body, event_id(caller, idempotency_key))
    return _changed(client, receipt)


@router.get("", response_model=Page[ClientRow], responses=documented(401, 403, 404, 422, 429, 503))
async def list_clients(
    services: InjectedServices, caller: MayReadClients, query: Annotated[ReadClients, Query()]
) -> Response:
    """List clients, the newest first. Roles: advisor, compliance, examiner.

    `client_id` finds all identifiers of that client.
    """
    return await read_page(services, caller, CLIENTS, query)


@router.get("/{client}", response_model=ClientInFull, responses=documented(401, 403, 404, 422, 503))
async def get_client(
    services: InjectedServices, caller: MayReadClients, client: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one client, with its assignments and all its identifiers. Roles: advisor, compliance, examiner."""
    row = await read_one(services, caller, CLIENTS, client, query, "client", stream_of(client))
    names = await read_names(services, caller, client, query)
    return as_json({**row, "names": names}, query)


def _registered(receipt: Receipt) -> Response:
    number = number_of(receipt.stream)
    return recorded(201, {"client": number}, receipt, f"/clients/{number}")


def _changed(client: int, receipt: Receipt) -> Response:
    return recorded(201, {"client": client, "event": receipt.position}, receipt, f"/clients/{client}")
