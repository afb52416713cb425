"""Read the two tables of an earlier system: requests, and recommendations of a model.

Each row becomes the event that would have recorded it. The first request of a client also registers the client.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from ledger.imports.history import CLIENT, REQUEST, BadLine, HistoryEvent, microseconds
from ledger.imports.lines import dumped
from ledger.imports.sources import NoEvent, lines_of
from ledger.store.envelope import MAX_SEALED_BYTES, Actor
from schema.events import ClientRegistered, PortfolioRequested, RecommendationRecorded, RequestFailed

# The columns that each row must have, and those that it may have.
REQUESTS = {"id", "client_id", "risk_profile", "amount_usd", "created_at"}
OF_REQUEST = {"horizon_years", "notes", "requested_by", "status"}
RECOMMENDATIONS = {"id", "request_id", "recommendation", "model_name", "created_at"}
OF_RECOMMENDATION = {"model_version", "agent"}
# A request with this status got no answer. The status of all others follows from the recommendations.
FAILED = "failed"
STATUSES = {"queued", "recommended", FAILED}
NOBODY = "unknown"

Row = dict[str, Any]


@dataclass
class Tables:
    """Read the two files: CSV with a header, or NDJSON with an object for each row. All rows are kept in memory."""

    requests: Path
    recommendations: Path | None = None

    def read(self) -> Iterator[HistoryEvent | NoEvent]:
        """Yield the events in the order of their times. Yield the faults of rows before them."""
        found: list[HistoryEvent] = []
        asked: dict[str, HistoryEvent] = {}
        for request in _events(self.requests, REQUESTS, OF_REQUEST, _requested):
            if isinstance(request, HistoryEvent):
                asked.setdefault(request.id, request)
                found.append(request)
            else:
                yield request
        if self.recommendations is not None:
            for answer in _events(self.recommendations, RECOMMENDATIONS, OF_RECOMMENDATION, _recommended):
                fault = None if not isinstance(answer, HistoryEvent) else _misplaced(answer, asked)
                if isinstance(answer, HistoryEvent) and fault is None:
                    found.append(answer)
                else:
                    yield fault or answer
        yield from _ordered(found)


def _ordered(found: list[HistoryEvent]) -> Iterator[HistoryEvent]:
    """Yield the events by time, with positions, registrations of clients, and the recommendations that others
    supersede."""
    found.sort(
        key=lambda event: (event.occurred_at_us, event.category != REQUEST, event.type != PortfolioRequested.type)
    )
    clients: dict[str, int] = {}
    latest: dict[str, int] = {}
    position = 0
    for event in found:
        data = dict(event.data)
        position += 1
        if event.type == PortfolioRequested.type:
            name = event.values["client_id"]
            if name not in clients:
                clients[name] = len(clients) + 1
                yield _registered(event, clients[name], position)
                position += 1
            data["client"] = clients[name]
        elif event.type == RecommendationRecorded.type:
            if event.stream in latest:
                data["supersedes"] = latest[event.stream]
            latest[event.stream] = position
        yield replace(event, position=position, data=data)


def _registered(request: HistoryEvent, number: int, position: int) -> HistoryEvent:
    return replace(
        request,
        id=f"client of {request.id}",
        position=position,
        stream=f"{CLIENT}{number}",
        type=ClientRegistered.type,
        data={},
        values={"client_id": request.values["client_id"]},
    )


def _misplaced(answer: HistoryEvent, asked: Mapping[str, HistoryEvent]) -> NoEvent | None:
    request = asked.get(f"request {answer.stream.removeprefix(REQUEST)}")
    if request is None:
        return answer.file, answer.line, BadLine("request_id", "there is no request with this id")
    if answer.occurred_at_us < request.occurred_at_us:
        return answer.file, answer.line, BadLine("created_at", "Input should not be before the request was made")
    return None


def _requested(row: Row, place: tuple[str, int]) -> Iterator[HistoryEvent]:
    status = row.pop("status", None)
    if status is not None and (not isinstance(status, str) or status not in STATUSES):
        raise BadLine("status", f"Input should be {', '.join(sorted(STATUSES))}")
    by = Actor(id=_text(row.pop("requested_by", None) or NOBODY, "requested_by"), kind="human", role="advisor")
    if isinstance(row.get("horizon_years"), str):
        row["horizon_years"] = _whole(row["horizon_years"], "horizon_years")
    number, at = _whole(row.pop("id"), "id"), microseconds(row.pop("created_at"), "created_at")
    event = _event(PortfolioRequested, row, place, (f"request {number}", number, at, by))
    yield event
    if status == FAILED:
        yield _event(RequestFailed, {"reason": "unknown"}, place, (f"failure of {number}", number, at, by))


def _recommended(row: Row, place: tuple[str, int]) -> Iterator[HistoryEvent]:
    by = Actor(id=_text(row.pop("agent", None) or NOBODY, "agent"), kind="agent", role="agent")
    if isinstance(row["recommendation"], str):
        try:
            row["recommendation"] = orjson.loads(row["recommendation"])
        except ValueError as error:
            raise BadLine("recommendation", "Input should be JSON") from error
    number, request = _whole(row.pop("id"), "id"), _whole(row.pop("request_id"), "request_id")
    at = microseconds(row.pop("created_at"), "created_at")
    yield _event(RecommendationRecorded, row, place, (f"recommendation {number}", request, at, by))


def _event(
    kind: type[PortfolioRequested | RecommendationRecorded | RequestFailed],
    row: Row,
    place: tuple[str, int],
    what: tuple[str, int, int, Actor],
) -> HistoryEvent:
    original, request, at_us, by = what
    try:
        members = dumped(kind, row)
    except BadLine as error:
        raise BadLine(error.field.removeprefix("data."), error.reason) from error
    return HistoryEvent(
        *place,
        original,
        0,
        f"{REQUEST}{request}",
        kind.type,
        at_us,
        by,
        {name: value for name, value in members.items() if name not in kind.sealed},
        {name: value for name, value in members.items() if name in kind.sealed},
        typed=True,
    )


def _events(
    path: Path, columns: set[str], optional: set[str], make: Callable[[Row, tuple[str, int]], Iterator[HistoryEvent]]
) -> Iterator[HistoryEvent | NoEvent]:
    ids: set[str] = set()
    for number, row in _rows(path):
        try:
            if isinstance(row, BadLine):
                raise row
            _check_columns(row, columns, optional)
            given = {
                name: value for name, value in row.items() if (value is not None and value != "") or name in columns
            }
            _check_new(str(row["id"]), ids)
            yield from make(given, (path.name, number))
        except BadLine as error:
            yield path.name, number, error


def _check_new(id_: str, ids: set[str]) -> None:
    if id_ in ids:
        raise BadLine("id", "a row before has the same id")
    ids.add(id_)


def _rows(path: Path) -> Iterator[tuple[int, Row | BadLine]]:
    """Yield each row with the number of its line."""
    if path.suffix.lower() == ".csv":
        yield from _csv_rows(path)
        return
    with path.open("rb") as file:
        for number, line in enumerate(lines_of(file), 1):
            yield number, _object(line)


def _csv_rows(path: Path) -> Iterator[tuple[int, Row | BadLine]]:
    """Yield each row with the number of its last line. A row that is invalid CSV ends the file."""
    csv.field_size_limit(MAX_SEALED_BYTES)
    # Bytes that are invalid UTF-8 become surrogates, so that their row can be named.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        done = 0
        try:
            columns, done = reader.fieldnames or (), reader.line_num
            if twice := [name for name in columns if columns.count(name) > 1]:
                yield 1, BadLine(twice[0], "there are two columns of this name")
                return
            for row in reader:
                done = reader.line_num
                yield done, _wrong_cells(row) or row
        except csv.Error as error:
            yield done + 1, BadLine("line", f"this row, or one that begins here, is no CSV: {error}")


def _wrong_cells(row: Mapping[str | None, Any]) -> BadLine | None:
    """Return the fault of a row of a CSV file, apart from its values."""
    if None in row:
        return BadLine("line", "has too many values")
    try:
        "".join(value for value in row.values() if value is not None).encode()
    except UnicodeEncodeError:
        return BadLine("line", "Input should be text in UTF-8")
    return None


def _object(line: bytes) -> Row | BadLine:
    try:
        row = orjson.loads(line)
    except ValueError:
        row = None
    return row if isinstance(row, dict) else BadLine("line", "Input should be a JSON object")


def _check_columns(row: Row, columns: set[str], optional: set[str]) -> None:
    if missing := sorted(columns - row.keys()):
        raise BadLine(missing[0], "the column is missing")
    if more := sorted(row.keys() - columns - optional):
        raise BadLine(str(more[0]), "this column is not imported: leave it out")


def _whole(value: object, name: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    if type(value) is not int or value < 1:
        raise BadLine(name, "Input should be a whole number from 1 on")
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 200:
        raise BadLine(name, "Input should be a text of 1 to 200 characters")
    return value
