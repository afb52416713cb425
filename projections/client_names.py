"""Find the identifiers of one client as of a position: aliases, and those of the clients that were merged with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.database import AsyncConnection, Connection
from ledger.errors import NotFound

NAMES = (Path(__file__).parent / "client_names.sql").read_bytes()
NUMBERS = (Path(__file__).parent / "clients_of_identifiers.sql").read_bytes()
EVER = "SELECT EXISTS (SELECT FROM stream_clients c WHERE c.client_id = %s)"


@dataclass(frozen=True)
class ClientName:
    """A client's number and its identifier, which is null once it is erased."""

    client: int
    client_id: str | None


async def names_of_number(conn: AsyncConnection, client: int, upto: int | None = None) -> list[ClientName]:
    """Return all identifiers that share a client with this number, by number; empty for an unknown number."""
    return [ClientName(number, name) for _, number, name in await _rows(conn, [client], [], upto)]


async def names_of(conn: AsyncConnection, client_ids: Sequence[str], upto: int | None = None) -> dict[str, list[str]]:
    """Return for each identifier all identifiers of the same client, itself included, registered or not."""
    names: dict[str, list[str]] = {client_id: [client_id] for client_id in client_ids}
    for asked, _, name in await _rows(conn, [], client_ids, upto):
        if name is not None and name not in names[asked]:
            names[asked].append(name)
    return names


async def numbers_of(conn: AsyncConnection, client_ids: Sequence[str]) -> list[int]:
    """Return the registered numbers of these identifiers."""
    rows = await (await conn.execute(NUMBERS, [list(client_ids)], prepare=True)).fetchall()
    return [number for (number,) in rows]


async def check_known(conn: AsyncConnection, client_id: str) -> None:
    """Raise NotFound `client-unknown` if no client has or had this identifier, as far as records are not erased."""
    row = await (await conn.execute(EVER, [client_id], prepare=True)).fetchone()
    if row != (True,):
        raise client_unknown()


def names_known(conn: Connection, client_id: str) -> list[str]:
    """Return all identifiers of the same client as this one, for commands. Raises NotFound `client-unknown`."""
    if conn.execute(EVER, [client_id]).fetchone() != (True,):
        raise client_unknown()
    rows = conn.execute(NAMES, {"clients": [], "client_ids": [client_id], "upto": None}).fetchall()
    return sorted({client_id, *(name for _, _, name in rows if name is not None)})


def names_of_client(conn: Connection, client: int, upto: int) -> list[str]:
    """Return all identifiers, without erased ones, that shared a client with this number as of a position."""
    rows = conn.execute(NAMES, {"clients": [client], "client_ids": [], "upto": upto}).fetchall()
    return [name for _, _, name in rows if name is not None]


def client_unknown() -> NotFound:
    """Return the refusal for an unknown client, and for one outside the reader's scope."""
    return NotFound("client-unknown", "there is no such client, and there never was")


async def _rows(
    conn: AsyncConnection, clients: Sequence[int], client_ids: Sequence[str], upto: int | None
) -> list[tuple[str, int, str | None]]:
    parameters = {"clients": list(clients), "client_ids": list(client_ids), "upto": upto}
    return await (await conn.execute(NAMES, parameters, prepare=True)).fetchall()
