"""Assignments of clients as NDJSON: one JSON object on each line, as HTTP and the command line take them.

{"client_id": "C-000017", "subject": "ann", "since": "2026-01-01T00:00:00Z"}
{"client": 18, "group": "zurich"}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from api.json_members import Repeated, check_members
from ledger.errors import InvalidLines
from ledger.service.bulk_assignments import AssignmentLine
from schema.clients import ClientAssigned, ClientNumber
from schema.fields import ClientId

# More than the longest line needs, each character escaped.
MOST_LINE_BYTES = 16 * 1024
MOST_ERRORS = 20


class _Named(BaseModel):
    """The client of a line, by number or by identifier."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    client: ClientNumber | None = None
    client_id: ClientId | None = None


def parse(lines: Iterable[bytes], first: int = 1) -> list[AssignmentLine]:
    """Read lines, of which the first has this number; empty ones are left out. Raises InvalidLines with all errors."""
    found: list[AssignmentLine] = []
    errors: list[tuple[str, str]] = []
    for number, text in enumerate(lines, first):
        if text.strip():
            try:
                found.append(_line(number, text))
            except InvalidLines as error:
                errors += error.errors
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        raise InvalidLines(errors)
    return found


def _line(number: int, text: bytes) -> AssignmentLine:
    where = f"line {number}"
    if len(text) > MOST_LINE_BYTES:
        raise InvalidLines([(where, f"over {MOST_LINE_BYTES} bytes")])
    try:
        members = orjson.loads(text)
        check_members(text)
    except orjson.JSONDecodeError as error:
        raise InvalidLines([(where, f"not JSON: {error.msg}")]) from None
    except Repeated as error:
        raise InvalidLines([(f"{where}.{error}", "stands twice in one object")]) from None
    if not isinstance(members, dict):
        raise InvalidLines([(where, "Input should be a JSON object")])
    rest = {name: value for name, value in members.items() if name not in _Named.model_fields}
    try:
        named = _Named.model_validate(members)
        event = ClientAssigned.model_validate(rest)
    except ValidationError as error:
        raise InvalidLines(list(_errors(where, error))) from None
    client = named.client if named.client_id is None else named.client_id
    if client is None or (named.client is not None and named.client_id is not None):
        raise InvalidLines([(where, "Input should have either `client` or `client_id`")])
    return AssignmentLine(number, client, event)


def _errors(where: str, error: ValidationError) -> Iterator[tuple[str, str]]:
    for item in error.errors(include_input=False, include_url=False)[:MOST_ERRORS]:
        name = _text(item["loc"])
        yield (f"{where}: {name}" if name else where), str(item["msg"])


def _text(location: tuple[Any, ...]) -> str:
    return ".".join(map(str, location)).encode("utf-8", "replace").decode()[:200]
