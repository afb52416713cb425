"""Events as they were recorded, for commands to decide on; without their sealed values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson


@dataclass(frozen=True)
class Past:
    """One recorded event; `body` is its canonical JSON."""

    position: int
    id: UUID
    stream: str
    version: int
    type: str
    body: str

    @cached_property
    def _parsed(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def by(self) -> str:
        """The id of the actor."""
        return str(self._parsed["actor"]["id"])

    @property
    def data(self) -> dict[str, Any]:
        """The facts in clear."""
        found: dict[str, Any] = self._parsed["data"]
        return found

    @property
    def causation(self) -> str | None:
        """The id of the event that led to this one."""
        return self._parsed.get("causation")

    def commitment(self, field: str) -> str:
        """The commitment to a sealed field."""
        return str(self._parsed["sealed"][field])
