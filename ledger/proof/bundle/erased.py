"""Find the erasures that the missing values of a bundle belong to, as far as its events say so.

An event `client.erased` or `values.erased` ends its stream: earlier values in the same stream are erased. The
transparency log has these events, so their maker cannot have made them up for the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ERASING = frozenset({"client.erased", "values.erased"})
MOST_ERASURES = 10_000


@dataclass
class ErasedValues:
    """Process the events in order: `gone` values first, then `ends` for an event that ends its stream."""

    # By erasure: the position of the first of its events here, and the number of values that it erased.
    by_erasure: dict[int, tuple[int, int]] = field(default_factory=dict)
    # By stream: the number of missing values that no later event here explains.
    _open: dict[str, int] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Return the number of missing values that no event here explains."""
        return sum(self._open.values())

    def gone(self, stream: str, values: int) -> None:
        """Note values of an event that are neither here nor withheld."""
        if values:
            self._open[stream] = self._open.get(stream, 0) + values

    def ends(self, position: int, stream: str, event_type: str, body: dict[str, Any]) -> None:
        """Note an event that erases its stream; do nothing for another one."""
        if event_type not in ERASING:
            return
        data = body.get("data")
        erasure = data.get("erasure_id") if isinstance(data, dict) else None
        if type(erasure) is not int or (erasure not in self.by_erasure and len(self.by_erasure) >= MOST_ERASURES):
            return
        first, values = self.by_erasure.get(erasure, (position, 0))
        self.by_erasure[erasure] = first, values + self._open.pop(stream, 0)
