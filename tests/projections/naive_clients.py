"""The read models of clients, legal holds and erasures folded a second time, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable

from schema.events import (
    ClientAliased,
    ClientAssigned,
    ClientErased,
    ClientMerged,
    ClientRegistered,
    ClientUnassigned,
    ErasureDeclined,
    ErasureRefused,
    ErasureRequested,
    LegalHoldPlaced,
    LegalHoldReleased,
)
from tests.projections.naive import Entry, Row

KINDS = ClientRegistered | ClientAliased | ClientMerged | ClientAssigned | ClientUnassigned


def clients(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[int, Row] = {}
    for entry in history:
        number, event = _number(entry.at.stream), entry.event
        if number is None or not isinstance(event, KINDS):
            continue
        if entry.at.version == 1 and isinstance(event, ClientRegistered | ClientAliased):
            rows[number] = _opened(number, entry, event)
        if number in rows:
            _change(rows[number], entry, event)
    return [rows[number] for number in sorted(rows)]


def _number(stream: str) -> int | None:
    number = stream.removeprefix("client-")
    return int(number) if number.isdigit() and number != stream and number[0] != "0" else None


def _opened(number: int, entry: Entry, event: ClientRegistered | ClientAliased) -> Row:
    return dict.fromkeys(("merged_into", "merged_position", "merged_at", "merged_by")) | {
        "stream": entry.at.stream,
        "id": number,
        "client_id": event.client_id,
        "alias": isinstance(event, ClientAliased),
        "assignments": [],
        "subjects": [],
        "groups": [],
        "registered_by": entry.by,
        "created_at": entry.at.recorded_at,
    }


def _change(row: Row, entry: Entry, event: KINDS) -> None:
    row["updated_at"] = entry.at.recorded_at
    match event:
        case ClientRegistered(subject=str()) if entry.at.version == 1:
            _assign(row, entry, event.subject, None, None, None)
        case ClientAliased() if entry.at.version == 1:
            _merge(row, entry, event.of)
        case ClientMerged():
            _merge(row, entry, event.into)
        case ClientAssigned():
            _assign(row, entry, event.subject, event.group, event.since, event.until)
        case ClientUnassigned():
            _leave(row, event.subject, event.group)


def _merge(row: Row, entry: Entry, into: int) -> None:
    if row["merged_into"] is None:
        row |= {"merged_into": into, "merged_position": entry.at.position}
        row |= {"merged_at": entry.at.recorded_at, "merged_by": entry.by}


def _assign(
    row: Row, entry: Entry, subject: str | None, group: str | None, since: str | None, until: str | None
) -> None:
    _leave(row, subject, group)
    found = {"subject": subject, "group": group, "since": since, "until": until, "position": entry.at.position}
    row["assignments"] = [*row["assignments"], found]
    _list(row)


def _leave(row: Row, subject: str | None, group: str | None) -> None:
    row["assignments"] = [one for one in row["assignments"] if (one["subject"], one["group"]) != (subject, group)]
    _list(row)


def _list(row: Row) -> None:
    row["subjects"] = [one["subject"] for one in row["assignments"] if one["subject"] is not None]
    row["groups"] = [one["group"] for one in row["assignments"] if one["group"] is not None]


def legal_holds(history: Iterable[Entry], owners: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[int, Row] = {}
    for entry in history:
        number, event = _number(entry.at.stream), entry.event
        if number is None:
            continue
        if isinstance(event, LegalHoldPlaced):
            rows[entry.at.position] = dict.fromkeys(("released_at", "released_by", "release_reason")) | {
                "stream": entry.at.stream,
                "id": entry.at.position,
                "client": number,
                "client_id": owners.get(entry.at.stream),
                "request_id": event.request_id,
                "state": "active",
                "reason": event.reason,
                "placed_by": entry.by,
                "created_at": entry.at.recorded_at,
                "updated_at": entry.at.recorded_at,
            }
        elif isinstance(event, LegalHoldReleased):
            row = rows.get(event.hold_id)
            if row is not None and (row["stream"], row["state"]) == (entry.at.stream, "active"):
                at = entry.at.recorded_at
                row |= {"state": "released", "released_at": at, "released_by": entry.by, "updated_at": at}
                row["release_reason"] = event.reason
    return list(rows.values())


def erasures(history: Iterable[Entry], owners: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[int, Row] = {}
    for entry in history:
        number, event = _number(entry.at.stream), entry.event
        if number is None:
            continue
        if isinstance(event, ErasureRequested):
            rows[entry.at.position] = _asked(entry, event, number, owners)
        elif isinstance(event, ErasureDeclined | ErasureRefused | ClientErased):
            row = rows.get(event.erasure_id)
            if row is not None and (row["stream"], row["answer_position"]) == (entry.at.stream, None):
                _answer(row, entry, event)
    return list(rows.values())


def _asked(entry: Entry, event: ErasureRequested, number: int, owners: dict[str, str]) -> Row:
    counts = ("clients", "streams", "events", "values")
    return dict.fromkeys(("answer_position", "answered_by", "answered_at", "rationale")) | {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "client": number,
        "client_id": owners.get(entry.at.stream),
        "state": "waiting" if event.forbidden is None else "refused",
        **event.model_dump(include={"reason", "reference", "note", "expires_at", *counts}),
        "requested_by": entry.by,
        "forbidden": None if event.forbidden is None else event.forbidden.model_dump(exclude_none=True),
        "reapplies": None if event.reapplies is None else event.reapplies.model_dump(),
        "created_at": entry.at.recorded_at,
        "updated_at": entry.at.recorded_at,
    }


def _answer(row: Row, entry: Entry, event: ErasureDeclined | ErasureRefused | ClientErased) -> None:
    at = entry.at.recorded_at
    row |= {"answer_position": entry.at.position, "answered_by": entry.by, "answered_at": at, "updated_at": at}
    match event:
        case ErasureDeclined():
            row |= {"state": "declined", "rationale": event.rationale}
        case ErasureRefused():
            row |= {"state": "refused", "forbidden": event.forbidden.model_dump(exclude_none=True)}
        case ClientErased():
            row |= {"state": "erased", **event.model_dump(include={"clients", "streams", "events", "values"})}
