"""The folds of samples, of the queue of reviews and of findings once more, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schema.events import CaseReviewed
from schema.findings import FindingAssigned, FindingClosed, FindingOpened
from schema.samples import ReviewAssigned, ReviewReassigned, SampleDrawn
from tests.projections.naive import Entry, Row

ASKED = ("decided_from", "decided_to", "agent", "decided_by", "outcome", "overridden", "amount_from", "amount_to")
DRAWN = ("size", "reviewers", "due_at", "method", "seed", "seed_from", "upto", "population", "population_digest")


def numbered(stream: str, category: str) -> int | None:
    """Return the number of a stream of this category."""
    number = stream.removeprefix(category)
    plain = number.isdigit() and number.isascii() and not number.startswith("0")
    return int(number) if stream.startswith(category) and plain else None


def samples(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows = []
    for entry in history:
        event, number = entry.event, numbered(entry.at.stream, "sample-")
        if isinstance(event, SampleDrawn) and number is not None and entry.at.version == 1:
            members = event.model_dump(exclude_none=True)
            rows.append(
                {name: getattr(event, name) for name in (*ASKED, "unreviewed", *DRAWN, "chosen")}
                | {"stream": entry.at.stream, "id": number, "position": entry.at.position}
                | {"weights": members.get("weights"), "drawn_by": entry.by, "created_at": entry.at.recorded_at}
            )
    return sorted(rows, key=lambda row: int(row["id"]))


def review_items(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[int, Row] = {}
    for entry in history:
        event, stream, request = entry.event, entry.at.stream, numbered(entry.at.stream, "request-")
        if request is None:
            continue
        if isinstance(event, ReviewAssigned):
            rows[entry.at.position] = _item(entry, event, request)
        for row in rows.values():
            if row["stream"] == stream:
                _see(row, entry)
    for row in rows.values():
        done = "finding" if row["findings"] else "reviewed"
        row["state"] = "open" if row["review_id"] is None else done
    return list(rows.values())


def _see(row: Row, entry: Entry) -> None:
    """Take an event of the item's stream."""
    match entry.event:
        case ReviewReassigned() as event if event.item_id == row["id"]:
            row |= {"assignee": event.assignee, "due_at": event.due_at or row["due_at"]}
        case CaseReviewed() as event if row["review_id"] is None and row["decision_id"] <= event.upto:
            row |= {"review_id": entry.at.position, "reviewed_at": entry.at.recorded_at}
            row |= {"reviewed_by": entry.by, "disposition": event.disposition}
        case FindingOpened() as event:
            row["findings"] += event.decision_id in {None, row["decision_id"]}


def _item(entry: Entry, event: ReviewAssigned, request: int) -> Row:
    nothing: dict[str, Any] = dict.fromkeys(("review_id", "reviewed_by", "reviewed_at", "disposition"))
    return nothing | {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "request_id": request,
        "decision_id": event.decision_id,
        "sample": event.sample,
        "assignee": event.assignee,
        "due_at": event.due_at,
        "assigned_by": entry.by,
        "created_at": entry.at.recorded_at,
        "findings": 0,
    }


def findings(history: Iterable[Entry], owners: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[int, Row] = {}
    for entry in history:
        event, stream = entry.event, entry.at.stream
        about = numbered(stream, "request-"), numbered(stream, "client-")
        if isinstance(event, FindingOpened) and about != (None, None):
            rows[entry.at.position] = _finding(entry, event, about) | {"client_id": owners.get(stream)}
        elif isinstance(event, FindingAssigned | FindingClosed):
            row = rows.get(event.finding_id)
            if row is None or row["stream"] != stream:
                continue
            if isinstance(event, FindingAssigned):
                row["assignee"] = event.assignee
            elif row["state"] == "open":
                at = {"closed_at": entry.at.recorded_at, "close_id": entry.at.position, "closed_by": entry.by}
                row |= {**at, "state": "closed", "resolution": event.resolution, "close_reason": event.reason}
    return list(rows.values())


def _finding(entry: Entry, event: FindingOpened, about: tuple[int | None, int | None]) -> Row:
    empty = ("assignee", "resolution", "closed_by", "closed_at", "close_id", "close_reason")
    return dict.fromkeys(empty) | {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "request_id": about[0],
        "client": about[1],
        "decision_id": event.decision_id,
        "severity": event.severity,
        "state": "open",
        "text": event.text,
        "opened_by": entry.by,
        "created_at": entry.at.recorded_at,
    }
