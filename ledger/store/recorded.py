"""Recorded events with their sealed values, and whether each is still what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ledger.database import AsyncConnection
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.hashes import event_hash

# A time that is no time has no microseconds, and so no hash that fits.
ENTRIES = (
    "SELECT e.position, e.version, e.prev_hash, e.hash, e.body, s.salts::text, s.fields::text,"
    " CASE WHEN isfinite(e.recorded_at) THEN (extract(epoch FROM e.recorded_at) * 1000000)::bigint ELSE -1 END"
    " FROM events e LEFT JOIN sealed_fields s USING (position) WHERE e.position = ANY (%s) ORDER BY e.position"
)


class Unreadable(ValueError):
    """What is on record is no JSON."""


@dataclass(frozen=True)
class Entry:
    """A recorded event with its sealed values. `altered` says what of it is not as it was recorded."""

    body: dict[str, Any]
    fields: dict[str, Any]
    altered: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The facts in clear."""
        found: dict[str, Any] = self.body["data"]
        return found

    @property
    def members(self) -> dict[str, Any]:
        """All that the event says."""
        return {**self.data, **self.fields}

    @property
    def by(self) -> str:
        """The id of the actor."""
        return str(self.body["actor"]["id"])

    @property
    def erased(self) -> bool:
        """Whether sealed values are gone."""
        return bool(self.body.get("sealed", {}).keys() - self.fields.keys())


async def read_entries(conn: AsyncConnection, positions: list[int]) -> dict[int | None, Entry]:
    """The events at these positions, in order; where there is none it is left out. Raises Unreadable."""
    cursor = await conn.execute(ENTRIES, [positions], prepare=True)
    return {row[0]: _entry(*row) for row in await cursor.fetchall()}


def _entry(  # noqa: PLR0913, PLR0917 - the columns of a row
    position: int,
    version: int,
    prev_hash: bytes,
    hash_: bytes,
    body: str,
    salts: str | None,
    fields: str | None,
    recorded_at_us: int,
) -> Entry:
    try:
        content, values = orjson.loads(body), orjson.loads(fields or "{}")
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"event {position} is no JSON") from error
    altered = None
    if event_hash(prev_hash, position, version, recorded_at_us, body.encode()) != hash_:
        altered = f"event {position}: its hash does not fit what stands there"
    elif fields is not None:
        try:
            open_sealed(content.get("sealed", {}), (salts or "{}").encode(), fields.encode())
        except ValueError as error:
            altered = f"event {position}: {error}"
    return Entry(content, values, altered)
