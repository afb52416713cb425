"""Events of portfolios as they are read back, for tests of triggers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson

from ledger.domain.history import RecordedEvent
from schema.events import Event, FlowRecorded


def recorded(*events: Event, after: int = 0, position: int = 0) -> list[RecordedEvent]:
    """Return events of one stream, with sealed values; at positions from `position` + 1 on, or from `after` + 1."""
    found = []
    for number, event in enumerate(events, after + 1):
        members = event.model_dump(mode="json", exclude_none=True)
        fields = {name: value for name, value in members.items() if name in event.sealed}
        data = {name: value for name, value in members.items() if name not in event.sealed}
        body = orjson.dumps({"data": data, "sealed": dict.fromkeys(fields, "0")}).decode()
        at = position + number - after if position else number
        found.append(RecordedEvent(at, uuid4(), "s", number, event.type, body, orjson.dumps(fields).decode()))
    return found


def sealed(event: RecordedEvent, values: dict[str, Any] | None) -> RecordedEvent:
    """Return the event with other sealed values; None: they were erased."""
    return replace(event, sealed_values=None if values is None else orjson.dumps(values).decode())


def flow(
    day: str, kind: str, amount: str, reference: str = "first", position: int = 1, **members: Any
) -> RecordedEvent:
    """Return the record of a flow."""
    body = {"reference": reference, "date": day, "kind": kind, "amount": amount, "currency": "USD", **members}
    [event] = recorded(FlowRecorded.model_validate({**body, "client_id": "c", "client": 1}), position=position)
    return event
