"""The event that records a verification of the chain, and how to tell whether two of them have the same result."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from ledger.proof.findings import Finding
from schema.events import VerificationRecorded


def verification_event(last: int, signed: int, took_s: float, finding: Finding | None = None) -> VerificationRecorded:
    """Return the event for positions 1 to `last`, of which a checkpoint covers `signed`; without `finding` all held."""
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


def result_of(event: VerificationRecorded) -> tuple[object, ...]:
    """Return the members that make two verifications the same."""
    return event.result, event.finding, event.first_bad_position


def recorded_result(body: str) -> tuple[object, ...] | None:
    """Return what result_of() returns, for a recorded body; None if somebody made it unreadable."""
    try:
        data = orjson.loads(body)["data"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(data, Mapping):
        return None
    return data.get("result"), data.get("finding"), data.get("first_bad_position")
