"""Parse assignments of clients as NDJSON: one JSON object on each line, over HTTP and on the command line.

{"client_id": "C-000017", "subject": "ann", "since": "2026-01-01T00:00:00Z"}
{"client": 18, "group": "zurich"}
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from api.ndjson import errors_of, members_of, parse_lines
from ledger.errors import InvalidLines
from ledger.service.bulk_assignments import AssignmentLine
from schema.clients import ClientAssigned, ClientNumber
from schema.fields import ClientId

# More bytes than the longest line needs with each character escaped.
MOST_LINE_BYTES = 16 * 1024


class _Named(BaseModel):
    """The client of a line, by number or by identifier."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    client: ClientNumber | None = None
    client_id: ClientId | None = None


def parse(lines: Iterable[bytes], first: int = 1) -> list[AssignmentLine]:
    """Parse lines, of which the first has this number; skip empty ones. Raises InvalidLines with all errors."""
    return parse_lines(lines, first, _line)


def _line(number: int, text: bytes) -> AssignmentLine:
    members = members_of(number, text, MOST_LINE_BYTES)
    rest = {name: value for name, value in members.items() if name not in _Named.model_fields}
    try:
        named = _Named.model_validate(members)
        event = ClientAssigned.model_validate(rest)
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None
    client = named.client if named.client_id is None else named.client_id
    if client is None or (named.client is not None and named.client_id is not None):
        raise InvalidLines([(f"line {number}", "Input should have either `client` or `client_id`")])
    return AssignmentLine(number, client, event)
