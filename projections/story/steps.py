"""One event as a step of a story: who did what, when, in which role, and with which words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.domain.case import CATEGORY
from ledger.proof.format.act_time import act_us
from projections.recorded_events import WholeEvent

EPOCH, TICK = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

# Whether the reader may see the sealed values of an event, by its stream and type.
MaySee = Callable[[str, str], bool]


def everything(_stream: str, _type: str) -> bool:
    """Let the reader see all sealed values."""
    return True


def request_of(stream: str) -> int | None:
    """Return the number of the request that a stream is about."""
    number = stream.removeprefix(CATEGORY)
    return int(number) if stream.startswith(CATEGORY) and number.isdigit() and number.isascii() else None


def acted_at(step: Mapping[str, Any]) -> int:
    """Return when a step took place, in microseconds since 1970."""
    return act_us(step["backfill"], (step["recorded_at"] - EPOCH) // TICK)


def as_step(event: WholeEvent, may_see: MaySee = everything) -> dict[str, Any]:
    """Return the step. `values` has the sealed values; `missing` says why others are absent. Raises ContentAltered."""
    permitted = may_see(event.stream, event.type)
    values = event.values if permitted else {}
    why = "erased" if permitted else "not-permitted"
    return {
        "position": event.position,
        "recorded_at": event.recorded_at,
        "type": event.type,
        "stream": event.stream,
        "request_id": request_of(event.stream),
        "actor": event.actor,
        "backfill": event.backfill,
        "signed": "signature" in event.members,
        "data": event.data,
        "values": values,
        "missing": {name: why for name in event.commitments if name not in values},
        "hash": event.hash.hex(),
    }
