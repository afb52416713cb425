"""Show one event as it was recorded, with the sealed values that the caller may see, and its proof."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, JsonValue

from api.http.auth.permissions import Reader
from api.http.parameters import ReadOne, not_found
from api.http.reading import clients_named, record_read
from api.services import Services
from ledger.database import AsyncConnection
from ledger.domain.event_rights import PERMISSIONS_OF_SEALED, permission_of
from ledger.domain.subject import EXAMINER
from ledger.service.accesses import Item
from projections import reads
from projections.client_scope import client_of, clients_in_scope, is_in_scope
from projections.recorded_events import WholeEvent, read_events
from projections.story.steps import MaySee, request_of


class SealedField(BaseModel):
    """A sealed field: its commitment, and value and salt if they are shown. `state` says why they are not."""

    commitment: str
    state: Literal["shown", "erased", "not-permitted"]
    value: JsonValue = None
    salt: str | None = None


class CoveringCheckpoint(BaseModel):
    """The newest checkpoint, which covers the event: its size, and the signed note with all signatures."""

    size: int
    note: str


class ShownEvent(BaseModel):
    """An event. `body` is the canonical JSON that was hashed, byte for byte.

    Of an imported event, `actor` imported it, and `backfill` says who acted, when, and where that was written down.
    `signature` is that of the actor, for a signed act. `checkpoint` is null until one covers the event.
    """

    position: int
    id: UUID
    stream: str
    version: int
    type: str
    recorded_at: datetime
    actor: dict[str, JsonValue]
    backfill: dict[str, JsonValue] | None
    data: dict[str, JsonValue]
    body: str
    sealed: dict[str, SealedField]
    signature: dict[str, JsonValue] | None
    prev_hash: str
    hash: str
    checkpoint: CoveringCheckpoint | None


async def read_event(services: Services, reader: Reader, position: int, query: ReadOne) -> dict[str, Any]:
    """Read the event at a position, and record that it is shown. Raises ApiError, ContentAltered, Unavailable."""

    async def work(conn: AsyncConnection) -> tuple[WholeEvent, dict[str, Any], str | None] | None:
        upto = position if query.as_of is None else await reads.resolve(conn, query.as_of)
        events = await read_events(conn, [position]) if position <= upto else []
        if not events:
            return None
        [event] = events
        permitted = await _may_see_this(services, reader, conn, event)
        client_id = await client_of(conn, event.stream)
        return event, as_shown(event, await covering(services, conn, position), permitted=permitted), client_id

    found = await services.ledger.readers.run(work)
    if found is None:
        raise not_found("event")
    event, shown, client_id = found
    request = request_of(event.stream)
    items: set[Item] = {request} if request is not None else await clients_named(services, reader, [client_id])
    await record_read(services, reader, query, items, 1)
    return shown


async def may_see(
    services: Services, reader: Reader, conn: AsyncConnection, client_ids: Collection[str | None]
) -> MaySee:
    """Return the function that decides whether a reader may see the sealed values of an event of these clients.

    The clients are in the scope in which the reader acts. The policy may limit the permission for a value further.
    Only an agent may read its own calls, and an agent reads no events. Raises Unavailable.
    """
    policy, role, scope = services.access_policy, reader.actor.role, reader.actor.scope
    reaches = {permission: policy.scope(permission, role) for permission in PERMISSIONS_OF_SEALED}
    within = scope is not None and scope.assigned
    if "assigned" in reaches.values() and not within and reader.assigned is not None:
        names = (await clients_in_scope(conn, reader.assigned, services.ledger.patience_s)).values()
        within = all(client_id in names for client_id in client_ids)

    def decide(stream: str, type_: str) -> bool:
        reach = reaches[permission_of(stream, type_)]
        return reach == "all" or (reach == "assigned" and within)

    return decide


async def _may_see_this(services: Services, reader: Reader, conn: AsyncConnection, event: WholeEvent) -> bool:
    """Return True if the reader may see the sealed values of an event in any stream. Raises Unavailable.

    A role that is limited to assigned clients, and an examiner, may see them if the stream belongs to one of these.
    """
    policy, permission = services.access_policy, permission_of(event.stream, event.type)
    reach = policy.scope(permission, reader.actor.role)
    if reach == "all":
        return True
    possible = [
        reader.assigned if reach == "assigned" else None,
        reader.examined if EXAMINER in policy.roles(permission) else None,
    ]
    for scope in possible:
        if scope is not None and await is_in_scope(conn, scope, event.stream, services.ledger.patience_s):
            return True
    return False


async def covering(services: Services, conn: AsyncConnection, position: int) -> CoveringCheckpoint | None:
    """Return the published checkpoint if it covers the position."""
    size = await services.checkpoint_selector.size(conn)
    published = await services.checkpoints.published(conn, size) or await services.checkpoints.published(conn)
    if published is None or published.size < position:
        return None
    return CoveringCheckpoint(size=published.size, note=published.note)


def as_shown(event: WholeEvent, checkpoint: CoveringCheckpoint | None, *, permitted: bool) -> dict[str, Any]:
    """Return the members of ShownEvent; without `permitted`, no value of a sealed field."""
    return {
        "position": event.position,
        "id": event.id,
        "stream": event.stream,
        "version": event.version,
        "type": event.type,
        "recorded_at": event.recorded_at,
        "actor": event.actor,
        "backfill": event.backfill,
        "data": event.data,
        "body": event.body,
        "sealed": {name: _sealed(event, name, permitted=permitted) for name in event.commitments},
        "signature": event.members.get("signature"),
        "prev_hash": event.prev_hash.hex(),
        "hash": event.hash.hex(),
        "checkpoint": None if checkpoint is None else checkpoint.model_dump(),
    }


def _sealed(event: WholeEvent, name: str, *, permitted: bool) -> dict[str, Any]:
    commitment = event.commitments[name]
    if not permitted:
        return {"commitment": commitment, "state": "not-permitted", "value": None, "salt": None}
    if name not in event.values:
        return {"commitment": commitment, "state": "erased", "value": None, "salt": None}
    return {"commitment": commitment, "state": "shown", "value": event.values[name], "salt": event.salt_of[name]}
