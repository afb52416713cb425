"""Deliveries for tests of read models: events to draw, a scene, and the plain version of the fold."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from ledger.database import Connection
from schema.events import DeliveryAttempted, DeliveryEnded, DeliveryPlanned, DeliveryResent, Event
from tests.projections.naive import Entry, Row
from tests.support import append, new


def deliveries() -> st.SearchStrategy[Event]:
    """Draw an event of a message."""
    numbers = st.integers(1, 3)
    planned = st.builds(
        DeliveryPlanned, run=numbers, endpoint=st.sampled_from(["desk", "portal"]), decisions=st.just([7, 9])
    )
    attempted = st.builds(DeliveryAttempted, attempt=numbers, decisions=st.just([7]), keys=st.just(["0" * 16]))
    ended = st.builds(
        DeliveryEnded,
        attempt=st.none() | numbers,
        outcome=st.sampled_from(["delivered", "failed", "unknown", "withheld"]),
        reason=st.sampled_from(["status", "no-answer"]),
        status=st.none() | st.sampled_from([200, 503]),
        final=st.booleans(),
    )
    return planned | planned | attempted | ended | st.builds(DeliveryResent, reason=st.just("it is back"))


def deliver(conn: Connection, number: int, endpoint: str) -> None:
    """Append a message that is delivered, or for other numbers than 1 one that has failed."""
    outcome = "delivered" if number == 1 else "failed"
    append(
        conn,
        new(f"delivery-{number}", DeliveryPlanned(run=number, endpoint=endpoint, decisions=[7])),
        new(f"delivery-{number}", DeliveryAttempted(attempt=1, decisions=[7], keys=[])),
        new(
            f"delivery-{number}",
            DeliveryEnded.model_validate({"attempt": 1, "outcome": outcome, "reason": "status", "final": True}),
        ),
    )


def naive_deliveries(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[str, Row] = {}
    for entry in history:
        stream, event = entry.at.stream, entry.event
        number = stream.removeprefix("delivery-")
        if number == stream or not number.isdigit() or number[0] == "0":
            continue
        if isinstance(event, DeliveryPlanned) and entry.at.version == 1:
            rows[stream] = _planned(entry, event, int(number))
        elif stream in rows:
            _after(rows[stream], entry)
    return sorted(rows.values(), key=lambda row: int(row["id"]))


def _planned(entry: Entry, event: DeliveryPlanned, number: int) -> Row:
    at = entry.at.recorded_at
    return dict.fromkeys(("outcome", "reason", "status", "attempted_at")) | {
        **event.model_dump(),
        "stream": entry.at.stream,
        "id": number,
        "state": "waiting",
        "attempts": 0,
        "round": 1,
        "created_at": at,
        "updated_at": at,
    }


def _after(row: Row, entry: Entry) -> None:
    event, at = entry.event, entry.at.recorded_at
    if isinstance(event, DeliveryAttempted):
        row |= {"state": "sending", "attempts": row["attempts"] + 1, "attempted_at": at}
    elif isinstance(event, DeliveryResent):
        row |= {"state": "waiting", "round": row["round"] + 1}
    elif isinstance(event, DeliveryEnded):
        state = "failed" if event.final else "waiting"
        row["state"] = event.outcome if event.outcome in {"delivered", "withheld"} else state
    else:
        return
    ended = isinstance(event, DeliveryEnded)
    row |= {name: getattr(event, name) if ended else None for name in ("outcome", "reason", "status")}
    row["updated_at"] = at
