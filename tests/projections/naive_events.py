"""The read model of events made a second time, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable

from tests.projections.naive import Entry, Row


def event_index(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    return [_row(entry) for entry in history]


def _row(entry: Entry) -> Row:
    event = entry.event
    return {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "version": entry.at.version,
        "type": event.type,
        "actor": entry.actor.id,
        "actor_kind": entry.actor.kind,
        "role": entry.actor.role,
        "request_id": entry.request_id,
        "model": getattr(event, "model_name", None) or getattr(event, "request_model", None),
        "outcome": getattr(event, "outcome", None),
        "amount_usd": getattr(event, "amount_usd", None),
        "created_at": entry.recorded_at,
        "occurred_at": entry.at.recorded_at,
        "imported_by": None if entry.new.backfill is None else entry.new.actor.id,
    }
