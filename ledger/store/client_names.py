"""Read the other identifiers of a client from its events, for readers that may not depend on a read model's lag."""

from __future__ import annotations

from pathlib import Path

from ledger.database import AsyncConnection, Connection

NAMES = (Path(__file__).parent / "sql" / "client_names.sql").read_bytes()


def other_names(conn: Connection, client_id: str) -> tuple[str, ...]:
    """Return the identifiers that belong to the same client as this one, in order; without erased ones."""
    return tuple(sorted(name for (name,) in conn.execute(NAMES, {"client_id": client_id})))


async def other_names_async(conn: AsyncConnection, client_id: str) -> tuple[str, ...]:
    """Do the same as `other_names`."""
    rows = await (await conn.execute(NAMES, {"client_id": client_id})).fetchall()
    return tuple(sorted(name for (name,) in rows))
