"""An event as the ledger records it and as a bundle has it, and the head: docs/formats/event.md, section 4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class EventRow(NamedTuple):
    """A recorded event. Hashes have 32 bytes; `recorded_at_us` is in microseconds since 1970.

    `salts` and `fields` are the JSON of the sealed values, None where nothing is sealed or all was erased.
    """

    position: int
    id: str
    stream: str
    version: int
    type: str
    recorded_at_us: int
    prev_hash: bytes
    hash: bytes
    body: bytes
    salts: bytes | None
    fields: bytes | None


class EventLine(NamedTuple):
    """An event as a bundle has it. `fields` and `salts` are empty if nothing is disclosed."""

    position: int
    version: int
    recorded_at_us: int
    prev_hash: bytes
    hash: bytes
    body: bytes
    fields: bytes
    salts: bytes
    withheld: tuple[str, ...]

    def members(self) -> dict[str, Any]:
        """Return the members of the line as JSON: docs/formats/bundle.md, section 3."""
        members: dict[str, Any] = {
            "position": self.position,
            "version": self.version,
            "recorded_at_us": self.recorded_at_us,
            "prev_hash": self.prev_hash.hex(),
            "hash": self.hash.hex(),
            "body": self.body.decode(),
        }
        if self.fields:
            members |= {"fields": self.fields.decode(), "salts": self.salts.decode()}
        if self.withheld:
            members["withheld"] = self.withheld
        return members


@dataclass(frozen=True)
class Head:
    """The last event as the head names it. An empty ledger has position 0, the genesis hash and time 0."""

    origin: str
    position: int
    hash: bytes
    recorded_at_us: int
