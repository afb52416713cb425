"""Read events by position, and check that each is still what was recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from psycopg.rows import dict_row

from ledger.database import AsyncConnection
from ledger.domain.history import RecordedEvent
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.hashes import event_hash

EVENTS_AT = (Path(__file__).parent / "sql/events_at.sql").read_bytes()


class Unreadable(ValueError):
    """A stored event is not JSON."""


async def read_events(conn: AsyncConnection, positions: list[int]) -> dict[int, RecordedEvent]:
    """Return the events at these positions, in order, with their sealed values and `altered` set.

    Positions without an event are left out. Raises Unreadable.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(EVENTS_AT, [positions], prepare=True)
        return {row["position"]: _event(row) for row in await cursor.fetchall()}


def _event(row: dict[str, Any]) -> RecordedEvent:
    check = {name: row.pop(name) for name in ("salts", "prev_hash", "stored_hash", "recorded_at_us")}
    event = RecordedEvent(**row)
    try:
        return replace(event, altered=_difference(event, **check))
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"event {event.position} is not JSON") from error


def _difference(
    event: RecordedEvent, salts: str | None, prev_hash: bytes, stored_hash: bytes, recorded_at_us: int
) -> str | None:
    """Describe how the event differs from what was recorded; None if it does not. Raises orjson.JSONDecodeError."""
    content, _ = event.content, event.fields  # both must be JSON
    hash_ = event_hash(prev_hash, event.position, event.version, recorded_at_us, event.body.encode())
    if hash_ != stored_hash:
        return f"event {event.position}: its hash does not match its content"
    if event.sealed_values is None:
        return None
    try:
        open_sealed(content.get("sealed", {}), (salts or "{}").encode(), event.sealed_values.encode())
    except ValueError as error:
        return f"event {event.position}: {error}"
    return None
