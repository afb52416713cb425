"""Read events completely, as they were recorded: body, hashes, and the values of sealed fields."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from ledger.database import AsyncConnection
from ledger.errors import ContentAltered
from ledger.proof.format.commitments import open_value

log = logging.getLogger(__name__)

READ = Path(__file__).with_name("recorded_events.sql").read_bytes()


@dataclass(frozen=True)
class WholeEvent:
    """An event with the values and salts of its sealed fields, as JSON texts; None if it has none, or if they were
    erased."""

    position: int
    id: UUID
    stream: str
    version: int
    type: str
    recorded_at: datetime
    body: str
    prev_hash: bytes
    hash: bytes
    salts: str | None
    fields: str | None

    @cached_property
    def members(self) -> dict[str, Any]:
        """Return the members of the body; empty if it cannot be read."""
        return _object(self.body)

    @property
    def actor(self) -> dict[str, Any]:
        """Return the actor, from the body."""
        return _members(self.members.get("actor"))

    @property
    def backfill(self) -> dict[str, Any] | None:
        """Return the origin of an imported event: actor, time and source; None for any other event."""
        found = self.members.get("backfill")
        return found if isinstance(found, dict) else None

    @property
    def data(self) -> dict[str, Any]:
        """Return the members in clear."""
        return _members(self.members.get("data"))

    @property
    def commitments(self) -> dict[str, str]:
        """Return the commitments in hex, by name of the sealed field."""
        return _members(self.members.get("sealed"))

    @cached_property
    def values(self) -> dict[str, Any]:
        """Return the values of the sealed fields that were not erased. Raises ContentAltered if a value is not the
        recorded one.

        A value without its salt cannot be checked, so it counts as erased.
        """
        values, salts = _object(self.fields), _object(self.salts)
        for name, value in values.items():
            if not _opens(name, salts.get(name), value, self.commitments.get(name)):
                log.error("the sealed value %s at position %s is not what was recorded", name, self.position)
                raise ContentAltered(
                    f"the sealed value {name} at position {self.position} is not what was recorded, so it is not shown:"
                    " an operator runs advice-ledger verify"
                )
        return values

    @cached_property
    def salt_of(self) -> dict[str, str]:
        """Return the salts of the sealed fields that were not erased."""
        return _object(self.salts)


async def read_events(conn: AsyncConnection, positions: Sequence[int]) -> list[WholeEvent]:
    """Return the events at these positions, in their order; those that do not exist are left out."""
    cursor = await conn.execute(READ, [list(positions)], prepare=True)
    return [WholeEvent(*row) for row in await cursor.fetchall()]


def _object(text: str | None) -> dict[str, Any]:
    try:
        return dict(orjson.loads(text or "{}"))
    except (ValueError, TypeError):
        return {}


def _members(value: object) -> dict[str, Any]:
    """Return a copy of an object; empty for any other value, which append() does not check."""
    return dict(value) if isinstance(value, dict) else {}


def _opens(name: str, salt: object, value: object, commitment: object) -> bool:
    try:
        return open_value(name, salt, value, commitment) is not None
    except ValueError:
        return False
