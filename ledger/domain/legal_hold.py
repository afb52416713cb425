"""Fold legal holds: while one is active, nothing of its client is erased. Pure.

    (nothing) --legal-hold.placed--> active --legal-hold.released--> released

Both events are in the stream of the client, also if the hold is of one case. A client that was merged into another one
keeps its holds, and they can still be released.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.errors import NotFound, Refused, StreamUnreadable
from schema.events import LegalHoldPlaced, LegalHoldReleased


@dataclass(frozen=True)
class LegalHold:
    """A hold. `id` is the position of the event that placed it; `request_id` is None for one of the whole client."""

    id: int
    request_id: int | None = None
    released: bool = False


def fold(history: Iterable[RecordedEvent]) -> dict[int, LegalHold]:
    """Return the holds in the stream of a client, by id, the oldest first. Raises StreamUnreadable."""
    holds: dict[int, LegalHold] = {}
    for event in history:
        try:
            if event.type == LegalHoldPlaced.type:
                request_id = event.data.get("request_id")
                holds[event.position] = LegalHold(event.position, None if request_id is None else int(request_id))
            elif event.type == LegalHoldReleased.type and event.data["hold_id"] in holds:
                hold_id = int(event.data["hold_id"])
                holds[hold_id] = replace(holds[hold_id], released=True)
        except MALFORMED as error:
            raise StreamUnreadable.at(event.stream, event.position) from error
    return holds


def active(history: Iterable[RecordedEvent]) -> list[LegalHold]:
    """Return the active holds. Raises StreamUnreadable."""
    return [hold for hold in fold(history).values() if not hold.released]


def check_release(holds: Mapping[int, LegalHold], hold_id: int) -> None:
    """Check that the hold may be released. Raises NotFound `legal-hold-unknown`, Refused `legal-hold-released`."""
    if hold_id not in holds:
        raise NotFound("legal-hold-unknown", "there is no such legal hold")
    if holds[hold_id].released:
        raise Refused("legal-hold-released", "this legal hold was released already")
