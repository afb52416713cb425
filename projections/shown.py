"""Check rows of requests, recommendations, decisions, calls, clients, subjects and findings before they are shown.

A decision names the digest of what a person saw: a salted commitment that the chain has. The content comes from a read
model, which is outside the chain. So sealed values of a row must open the commitments of their events, and the row gets
the salts with which the reader can check the digest too. If one row is read, each of its members must also be what
folding its stream gives. A list does not fold, but opens each sealed value that it shows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ledger.database import AsyncConnection
from ledger.domain import client, subject
from ledger.domain.case import stream_of
from ledger.errors import ContentAltered
from ledger.proof.format.commitments import open_value
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.clients.model import CLIENTS
from projections.decisions.model import DECISIONS
from projections.findings.model import FINDINGS
from projections.model_calls.model import MODEL_CALLS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.read_model import ReadModel
from projections.subjects.model import SUBJECTS

log = logging.getLogger(__name__)
SHOWN = Path(__file__).with_name("shown.sql").read_bytes()
# Stands for the first event of a row's stream, whose position no row has.
FIRST = "first"


@dataclass(frozen=True)
class _ByType:
    """An event of a row's stream that no column of the row has the position of, found by its type.

    `shown`: the column that is null unless the row shows the event. `about`: the member of its data that names the row;
    None if all events of the type are about it. There may be several, such as suspensions.
    """

    type: str
    shown: str
    about: str | None = None

    def of(self, row: Mapping[str, Any], events: Sequence[_Sealed], members: Mapping[str, str]) -> _Sealed:
        """Return the event whose values the row shows, or else another of these; empty if there is none."""
        if row[self.shown] is None:
            return NOTHING
        about = [each for each in events if self.about is None or each.names(self.about, row["id"])]
        return next((each for each in about if not [*_unopened(row, each, members)]), about[0] if about else NOTHING)


SOURCES: Mapping[str, _ByType] = {
    "communicated": _ByType("recommendation.communicated", "communicated_at", "recommendation_id"),
    "confirmed": _ByType("recommendation.confirmed", "confirmed_at", "decision_id"),
    "failed": _ByType("request.failed", "failure_reason"),
    "registered": _ByType("subject.registered", "kind"),
    "suspended": _ByType("subject.suspended", "suspended_at"),
    "resumed": _ByType("subject.resumed", "resumed_at"),
}


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# By read model: the column with an event's position, FIRST, or one of SOURCES; and its sealed values by column.
SEALED_OF: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    AI_RECOMMENDATIONS.name: {
        "id": _same("recommendation", "prompt"),
        "decision_id": _same("rationale", "replacement", "response"),
        "decline_id": {"decline_rationale": "rationale"},
        FIRST: _same("client_id"),
        "communicated": _same("message"),
    },
    DECISIONS.name: {
        "id": _same("rationale", "replacement", "response"),
        FIRST: _same("client_id"),
        "confirmed": {"second_rationale": "rationale"},
        "end_id": {"end_rationale": "rationale"},
        "decline_id": {"decline_rationale": "rationale"},
        "review_id": {"review_note": "note"},
    },
    PORTFOLIO_REQUESTS.name: {
        FIRST: _same("client_id", "objectives", "notes"),
        "failed": {"failure_detail": "detail"},
        "withdrawal_id": {"withdrawal_rationale": "rationale"},
    },
    MODEL_CALLS.name: {"id": {}, FIRST: _same("client_id")},
    CLIENTS.name: {FIRST: _same("client_id")},
    FINDINGS.name: {"id": _same("text"), "close_id": {"close_reason": "reason"}, FIRST: _same("client_id")},
    SUBJECTS.name: {
        "registered": _same("display_name"),
        "suspended": {"suspend_reason": "reason"},
        "resumed": {"resume_reason": "reason"},
    },
}
# The stream that has the events of a row, if this is not the stream of the row's request.
STREAM_OF: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    CLIENTS.name: lambda row: client.stream_of(row["id"]),
    SUBJECTS.name: lambda row: subject.stream_of(row["name"]),
    FINDINGS.name: lambda row: client.stream_of(row["client"]) if row["client"] else stream_of(row["request_id"]),
}
# The contents about which a person decides. Only their salts are served.
CONTENTS = ("recommendation", "replacement")


@dataclass(frozen=True)
class _Sealed:
    """The data, the commitments and the salts of an event; all empty if it cannot be read."""

    stream: str
    position: int
    data: Mapping[str, Any]
    commitments: Mapping[str, Any]
    salts: Mapping[str, Any]

    @classmethod
    def of(cls, stream: str, position: int, body: str, salts: str | None) -> _Sealed:
        try:
            event, salt_of = orjson.loads(body), orjson.loads(salts or "{}")
            return cls(stream, position, dict(event["data"]), dict(event.get("sealed", {})), dict(salt_of))
        except (ValueError, LookupError, TypeError, AttributeError):
            return NOTHING

    def names(self, member: str, row_id: int) -> bool:
        """Return True if this member of the data is the row's id, which is the position of an earlier event."""
        return self.data.get(member) == row_id < self.position


NOTHING = _Sealed("", 0, {}, {}, {})


def refuse(read_model: ReadModel, row_id: int, members: Sequence[str]) -> None:
    """Raise ContentAltered if members of a row differ from what was recorded."""
    if members:
        raise content_altered(f"{read_model.name} {row_id} is not what was recorded ({', '.join(members)})")


def content_altered(what: str) -> ContentAltered:
    """Log and return the refusal to show content that differs from the record."""
    log.error("not shown: %s", what)
    return ContentAltered(
        f"{what}, so it is not shown: an operator runs advice-ledger verify, then advice-ledger rebuild"
    )


async def add_salts(
    conn: AsyncConnection, read_model: ReadModel, rows: Sequence[dict[str, Any]], *, contents: bool = True
) -> None:
    """Check the sealed values of these rows, which read_rows() gave; add `salts` to each that a person decides about.

    Without `contents`, the rows have some of their columns, and get no salts.

    Does nothing for other read models. Raises ContentAltered if a row shows anything but what was recorded.
    """
    sealed_of = SEALED_OF.get(read_model.name)
    if sealed_of is None or not rows:
        return
    stream_of_row = STREAM_OF.get(read_model.name, _stream_of_request)
    streams = [stream_of_row(row) for row in rows]
    events = await _Events.read(conn, sealed_of, rows, streams)
    for row, stream in zip(rows, streams, strict=True):
        of_row = events.of(row, stream, sealed_of)
        refuse(read_model, row["id"], [*_altered(row, sealed_of, of_row), *_misplaced(stream, of_row)])
        if "digest" in row:
            refuse(read_model, row["id"], [*_other_digests(row, of_row)])
            if contents:
                row["salts"] = _salts(sealed_of, of_row)


@dataclass(frozen=True)
class _Events:
    """The events that the rows of a page lead to: by position, the first of each stream, and those of SOURCES."""

    at: Mapping[int, _Sealed]
    first: Mapping[str, _Sealed]
    # By type and stream, in order of position.
    of_type: Mapping[tuple[str, str], Sequence[_Sealed]]

    @classmethod
    async def read(
        cls,
        conn: AsyncConnection,
        sealed_of: Mapping[str, Mapping[str, str]],
        rows: Sequence[Mapping[str, Any]],
        streams: Sequence[str | None],
    ) -> _Events:
        """Read the events of all rows at once."""
        types = [SOURCES[column].type for column in sealed_of if column in SOURCES]
        columns = sealed_of.keys() - {FIRST} - SOURCES.keys()
        positions = {row[column] for row in rows for column in columns if row[column] is not None}
        named = {stream for stream in streams if stream is not None}
        parameters = {"positions": list(positions), "streams": list(named), "types": types}
        at, first, of_type = dict[int, _Sealed](), dict[str, _Sealed](), dict[tuple[str, str], list[_Sealed]]()
        cursor = await conn.execute(SHOWN, parameters, prepare=True)
        for position, stream, is_first, event_type, body, salts in await cursor.fetchall():
            sealed = _Sealed.of(stream, position, body, salts)
            # An event may come twice: for its position and for its stream.
            if position not in at:
                of_type.setdefault((event_type, stream), []).append(sealed)
            at[position] = sealed
            if is_first:
                first[stream] = sealed
        return cls(at, first, of_type)

    def of(
        self, row: Mapping[str, Any], stream: str | None, sealed_of: Mapping[str, Mapping[str, str]]
    ) -> dict[str, _Sealed]:
        """Return the events that this row leads to. One that it should have and that is not there is empty."""
        found = dict[str, _Sealed]()
        for column, members in sealed_of.items():
            if source := SOURCES.get(column):
                found[column] = source.of(row, self.of_type.get((source.type, stream or ""), ()), members)
            elif column != FIRST:
                found[column] = self.at.get(row[column], NOTHING)
            elif stream is not None:
                found[column] = self.first.get(stream, NOTHING)
        return found


def _stream_of_request(row: Mapping[str, Any]) -> str | None:
    """Return the stream of the row's request; None if the row belongs to no request."""
    number = row["request_id"] if "request_id" in row else row["id"]
    return None if number is None else stream_of(number)


def _salts(sealed_of: Mapping[str, Mapping[str, str]], of_row: Mapping[str, _Sealed]) -> dict[str, str]:
    """Return the salts of the contents that a row shows."""
    return {
        name: sealed.salts[name]
        for column, sealed in of_row.items()
        for name in sealed_of[column].values()
        if name in CONTENTS and name in sealed.salts
    }


def _misplaced(stream: str | None, of_row: Mapping[str, _Sealed]) -> Iterator[str]:
    """Name `request_id` if the event with the row's id is not in the stream of that request."""
    if "id" in of_row and FIRST in of_row and of_row["id"].stream != stream:
        yield "request_id"


def _altered(
    row: Mapping[str, Any], sealed_of: Mapping[str, Mapping[str, str]], of_row: Mapping[str, _Sealed]
) -> Iterator[str]:
    """Name the values that do not open their commitments."""
    for column, sealed in of_row.items():
        yield from _unopened(row, sealed, sealed_of[column])


def _unopened(row: Mapping[str, Any], sealed: _Sealed, members: Mapping[str, str]) -> Iterator[str]:
    """Name the values that do not open this event's commitments. An erased value has no salt, and must not be shown."""
    for member, name in members.items():
        if member not in row:
            continue  # it is a summary
        if row[member] is None:
            # Null is right if there is no such value, or if it was erased.
            if name in sealed.salts and name in sealed.commitments:
                yield member
        elif not opens(name, row[member], sealed.salts.get(name), sealed.commitments.get(name)):
            yield member


def _other_digests(row: Mapping[str, Any], of_row: Mapping[str, _Sealed]) -> Iterator[str]:
    """Name the digests that differ from those of the row's events."""
    original, decision = of_row["id"], of_row.get("decision_id", of_row["id"])
    replaced = decision.commitments.get("replacement")
    of_both = {original.commitments.get("recommendation"), replaced}
    right = {original.data.get("digest")} if decision is original else of_both
    if row["digest"] is None or row["digest"] not in right:
        yield "digest"
    if row["replacement_digest"] != replaced:
        yield "replacement_digest"


def opens(name: str, value: object, salt: object, commitment: object) -> bool:
    """Return whether a value as a row has it, text or an orjson.Fragment, opens a commitment."""
    text = orjson.dumps(value)
    return any(_opens(name, parsed, salt, commitment) for parsed in _readings(text))


def _opens(name: str, parsed: Any, salt: object, commitment: object) -> bool:
    try:
        return open_value(name, salt, parsed, commitment) is not None
    except ValueError:  # not canonical if read like this
        return False


def _readings(text: bytes) -> Iterator[Any]:
    """Parse a value. PostgreSQL writes 1e+30 as an integer: such a number is then also read as a float."""
    yield orjson.loads(text)
    yield json.loads(text, parse_int=float)
