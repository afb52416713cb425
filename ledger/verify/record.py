"""What a verification of the chain found, as an event; and what makes two of these the same."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from ledger.proof.findings import Finding
from schema.events import VerificationRecorded


def found(last: int, signed: int, took_s: float, finding: Finding | None = None) -> VerificationRecorded:
    """Positions 1 to `last`, in `took_s`, of which a checkpoint covers `signed`; `finding`: what does not hold."""
    return VerificationRecorded(
        first_position=1,
        last_position=last,
        checkpoint_size=signed,
        result="good" if finding is None else "bad",
        finding=None if finding is None else finding.kind,
        first_bad_position=None if finding is None else finding.position,
        duration_s=round(took_s),
        events_per_s=round(last / max(took_s, 0.001)),
    )


def result(event: VerificationRecorded) -> tuple[object, ...]:
    """What makes two of them the same."""
    return event.result, event.finding, event.first_bad_position


def recorded(body: str) -> tuple[object, ...] | None:
    """As result(), of an event on record; None for one that somebody made unreadable, as if there were none."""
    try:
        data = orjson.loads(body)["data"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(data, Mapping):
        return None
    return data.get("result"), data.get("finding"), data.get("first_bad_position")
