"""Share parts of the routes of stories: the window, the client's identifiers, the record of reading."""

from __future__ import annotations

from datetime import datetime

from api.http.auth.permissions import Reader
from api.http.parameters import ReadOne
from api.services import Services
from ledger.database import AsyncConnection
from ledger.domain.client import stream_of
from ledger.store.head import read_head_async
from projections import client_names, reads
from projections.client_scope import clients_in_scope
from projections.clients.model import CLIENTS
from projections.read_model import ReadModel

REGISTERED = "SELECT position FROM events WHERE stream = %s AND version = 1"


async def upto_of(conn: AsyncConnection, as_of: int | datetime | None) -> int:
    """Return the position of a read: the last one, unless another is requested. Raises InvalidEvent."""
    if as_of is not None:
        return await reads.resolve(conn, as_of)
    head = await read_head_async(conn)
    return 0 if head is None else head.position


async def wait(services: Services, conn: AsyncConnection, read_model: ReadModel, query: ReadOne, upto: int) -> None:
    """Wait for a read model, if the reader wants the newest state. Raises Unavailable."""
    if query.consistency == "strong":
        await reads.wait_until_caught_up(conn, read_model, patience_s=services.ledger.patience_s, upto=upto)


async def identifiers(
    services: Services, reader: Reader, conn: AsyncConnection, client: int, query: ReadOne, upto: int
) -> list[str]:
    """Return all identifiers, without erased ones, that shared a client with this number then.

    Raises NotFound for an unknown client, and for one outside the reader's scope.
    """
    registered = await (await conn.execute(REGISTERED, [stream_of(client)], prepare=True)).fetchone()
    if registered is None or registered[0] > upto:
        raise client_names.client_unknown()
    await wait(services, conn, CLIENTS, query, upto)
    names = await client_names.names_of_number(conn, client, upto)
    scope = reader.actor.scope
    if scope is not None:
        in_scope = await clients_in_scope(conn, scope, services.ledger.patience_s)
        names = [name for name in names if name.client in in_scope] if client in in_scope else []
    if not names:
        raise client_names.client_unknown()
    return [name.client_id for name in names if name.client_id is not None]
