"""Find the clients in the scope of a reader, by the read model `clients`.

A scope is what may be read now, even for a read as of an earlier position. So the read model has to be current,
whatever consistency the reader requests: an assignment that has ended must show nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ledger.database import AsyncConnection
from ledger.domain.client import second
from ledger.domain.client_scope import ClientScope
from projections.clients.model import CLIENTS
from projections.read_model import ReadModel
from projections.reads import wait_until_caught_up

IN_SCOPE = (Path(__file__).parent / "client_scope.sql").read_bytes()
OF_STREAMS = "SELECT stream FROM stream_clients WHERE stream = ANY (%s) AND client_id = ANY (%s)"
OF_STREAM = "SELECT client_id FROM stream_clients WHERE stream = %s"


async def clients_in_scope(conn: AsyncConnection, scope: ClientScope, patience_s: float) -> dict[int, str | None]:
    """Return the identifiers of the clients in scope by number; None for an erased one. Raises Unavailable."""
    await wait_until_caught_up(conn, CLIENTS, patience_s=patience_s)
    parameters = {
        "subject": scope.subject,
        "groups": sorted(scope.groups),
        "at": second(scope.at),
        "assigned": scope.assigned,
        "listed": None if scope.listed is None else sorted(scope.listed),
    }
    rows = await (await conn.execute(IN_SCOPE, parameters)).fetchall()
    return {int(number): name for number, name in rows}


async def is_in_scope(conn: AsyncConnection, scope: ClientScope, stream: str, patience_s: float) -> bool:
    """Return True if a stream belongs to a client in scope; False if it belongs to no client, or to an erased one.

    Raises Unavailable.
    """
    client_id = await client_of(conn, stream)
    return client_id is not None and client_id in (await clients_in_scope(conn, scope, patience_s)).values()


async def streams_in_scope(
    conn: AsyncConnection, scope: ClientScope, streams: Sequence[str], patience_s: float
) -> frozenset[str]:
    """Return the streams that belong to clients in scope. Raises Unavailable."""
    clients = [name for name in (await clients_in_scope(conn, scope, patience_s)).values() if name is not None]
    rows = await (await conn.execute(OF_STREAMS, [list(streams), clients], prepare=True)).fetchall()
    return frozenset(stream for (stream,) in rows)


async def client_of(conn: AsyncConnection, stream: str) -> str | None:
    """Return the identifier of the client that a stream belongs to; None if it has none, or was erased."""
    row = await (await conn.execute(OF_STREAM, [stream], prepare=True)).fetchone()
    return None if row is None else str(row[0])


def scope_filter(read_model: ReadModel, clients: dict[int, str | None]) -> dict[str, object]:
    """Return the filter that leaves the rows of these clients. A read model without such a filter shows no client."""
    if read_model is CLIENTS:
        return {"numbers_in_scope": list(clients)}
    return {"in_scope": [name for name in clients.values() if name is not None]}
