"""A recorded event, as the program reads it back from the ledger. Pure: no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

import orjson

# The errors of code that reads missing or mistyped members of an event. append() does not check members.
MALFORMED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class RecordedEvent:
    """An event as it was recorded.

    `body` is its canonical JSON. `sealed_values` is the JSON object of its sealed values that still exist; None if the
    event has none, or if they were not read. `altered` says how the stored event differs from the recorded one; None if
    it does not, or if they were not compared.
    """

    position: int
    id: UUID
    stream: str
    version: int
    type: str
    body: str
    sealed_values: str | None = None
    altered: str | None = None
    # None if it was not read.
    recorded_at: datetime | None = None

    @cached_property
    def content(self) -> dict[str, Any]:
        """The parsed body. Raises orjson.JSONDecodeError if it is not JSON, which append() refuses."""
        content: dict[str, Any] = orjson.loads(self.body)
        return content

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The sealed values that were read, by member."""
        fields: dict[str, Any] = orjson.loads(self.sealed_values or "{}")
        return fields

    @property
    def by(self) -> str:
        """Return the id of the actor; for an imported event, the id of the original actor."""
        return str(self._actor["id"])

    @property
    def on_behalf_of(self) -> str | None:
        """Return for whom the actor acted, if the event says so."""
        return self._actor.get("on_behalf_of")

    @property
    def _actor(self) -> dict[str, Any]:
        backfill = self.content.get("backfill")
        actor: dict[str, Any] = (self.content if backfill is None else backfill)["actor"]
        return actor

    @property
    def data(self) -> dict[str, Any]:
        """Return the members in clear; empty if they are not an object, which append() does not check."""
        data = self.content.get("data")
        return data if isinstance(data, dict) else {}

    @property
    def members(self) -> dict[str, Any]:
        """All members: those in clear and the sealed values that were read."""
        return {**self.data, **self.fields}

    @property
    def causation(self) -> str | None:
        """The id of the event that led to this one."""
        return self.content.get("causation")

    @property
    def erased(self) -> frozenset[str]:
        """The sealed members without a value. Only meaningful if the reader asked for sealed values."""
        return frozenset(self.content.get("sealed", {}).keys() - self.fields.keys())

    def commitment(self, member: str) -> str:
        """The commitment to a sealed member. Raises KeyError if the event does not have it."""
        return str(self.content["sealed"][member])
