"""The other identifiers of a client, by its events: for what must be complete although a read model lags."""

from __future__ import annotations

from pathlib import Path

from ledger.database import AsyncConnection, Connection

NAMES = (Path(__file__).parent / "sql" / "client_names.sql").read_bytes()


def other_names(conn: Connection, client_id: str) -> tuple[str, ...]:
    """Return the identifiers that are one client with this one, in order; without erased ones."""
    return tuple(sorted(name for (name,) in conn.execute(NAMES, {"client_id": client_id})))


async def other_names_async(conn: AsyncConnection, client_id: str) -> tuple[str, ...]:
    """Return the same."""
    rows = await (await conn.execute(NAMES, {"client_id": client_id})).fetchall()
    return tuple(sorted(name for (name,) in rows))
