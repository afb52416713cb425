"""Exports for tests of read models: events to draw, a scene, and the plain version of the fold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from ledger.database import Connection
from schema.events import Event, ExportCompleted, ExportFailed, ExportRequested
from tests.projections.naive import Entry, Row
from tests.support import append, new

DIGEST = "5" * 64
AT = "2030-01-01T00:00:00Z"
NUMBERS = st.integers(1, 3)
COUNTS = st.integers(0, 2**53 - 1)
NAMES = st.none() | st.just(["notes", "portfolio.requested.objectives"])
SELECTIONS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"client": NUMBERS}),
    st.fixed_dictionaries({"client": NUMBERS, "occurred_from": st.just(AT)}),
    st.fixed_dictionaries({"request": NUMBERS}),
    st.fixed_dictionaries({"position_from": st.just(1), "position_to": st.none() | NUMBERS}),
    st.fixed_dictionaries({"recorded_from": st.just(AT)}),
    st.fixed_dictionaries({"search": st.just({"type": "client.registered"}), "position_to": st.none() | NUMBERS}),
    st.fixed_dictionaries({"search": st.just({"client": 1}), "text": st.just("boats"), "occurred_to": st.just(AT)}),
)
ENDED = ("events", "first_position", "last_position", "excluded", "checkpoint_size", "bytes")


def exports(client: str) -> st.SearchStrategy[Event]:
    """Draw an event of an export of this client's data."""
    asked = st.builds(
        lambda selection, disclose, withhold, zone: ExportRequested(
            **selection,
            disclose=disclose,
            withhold=withhold,
            zone=zone,
            purpose="a letter",
            recipient="the examiner",
            client_id=client,
            upto=1,
        ),
        SELECTIONS,
        NAMES,
        NAMES,
        st.sampled_from([None, "Europe/Zurich"]),
    )
    completed = st.builds(
        ExportCompleted,
        **dict.fromkeys(ENDED, COUNTS),
        sha256=st.just(DIGEST),
        fields=st.just({"portfolio.requested.notes": {"disclosed": 1, "withheld": 0, "erased": 2}}),
        expires_at=st.just(AT),
    )
    return asked | asked | completed | st.builds(ExportFailed, reason=st.sampled_from(["no-folder", "nothing-covered"]))


def export(conn: Connection, number: int = 1) -> None:
    """Append an export that is completed, or for other numbers than 1 one that has failed."""
    asked = ExportRequested(client=number, purpose="a letter", recipient="the examiner", client_id="client-1", upto=1)
    ended: Event = ExportFailed(reason="no-folder")
    if number == 1:
        ended = ExportCompleted.model_validate(
            {**dict.fromkeys(ENDED, 1), "sha256": DIGEST, "fields": {}, "expires_at": AT}
        )
    stream = f"export-{number}"
    append(conn, new(stream, asked), new(stream, ended))


def naive_exports(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[str, Row] = {}
    for entry in history:
        stream, event = entry.at.stream, entry.event
        number = stream.removeprefix("export-")
        if number == stream or not number.isdigit() or number[0] == "0":
            continue
        if isinstance(event, ExportRequested) and entry.at.version == 1:
            rows[stream] = _requested(entry, event, int(number))
        row = rows.get(stream, {})
        if row.get("state") == "requested" and isinstance(event, ExportCompleted):
            row |= event.model_dump() | {"state": "completed", "ended_at": entry.at.recorded_at}
        elif row.get("state") == "requested" and isinstance(event, ExportFailed):
            row |= {"failure_reason": event.reason, "state": "failed", "ended_at": entry.at.recorded_at}
    return sorted(rows.values(), key=lambda row: int(row["id"]))


def _requested(entry: Entry, event: ExportRequested, number: int) -> Row:
    members = event.model_dump(exclude={"client_id", "upto"})
    return dict.fromkeys((*ENDED, "sha256", "fields", "expires_at", "failure_reason", "ended_at")) | {
        **members,
        "search": event.search and event.search.model_dump(exclude_none=True),
        "stream": entry.at.stream,
        "id": number,
        "state": "requested",
        "requested_by": entry.by,
        "created_at": entry.at.recorded_at,
    }
