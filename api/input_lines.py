"""Inputs of monitoring as lines, of NDJSON or of CSV with a header: what is wrong is named by line and field."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import orjson
from pydantic import ValidationError

from api.ndjson import MOST_ERRORS, errors_of, members_of, parse_lines
from ledger.errors import InvalidLines
from ledger.service.monitoring.corporate_actions import ActionLine
from schema.events import RecordAction

# More than the longest line of an action needs.
MOST_LINE_BYTES = 16 * 1024


def parse_actions(lines: Iterable[bytes], first: int = 1) -> list[ActionLine]:
    """Read corporate actions, one on each line. Raises InvalidLines with all errors."""
    return parse_lines(lines, first, _action)


def _action(number: int, text: bytes) -> ActionLine:
    try:
        return ActionLine(number, RecordAction.model_validate(members_of(number, text, MOST_LINE_BYTES)))
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None


def csv_lines(body: bytes) -> list[bytes]:
    """Return the rows of a CSV as lines of NDJSON, each at its own number; cells that are empty are left out.

    Raises InvalidLines, also if the last row has no line break: then the file is cut off.
    """
    if body and not body.endswith(b"\n"):
        raise InvalidLines([("body", "the last line does not end with a line break: is it cut off?")])
    try:
        rows = csv.reader(io.StringIO(body.decode()), strict=True)
        header = next(rows, [])
        return _lines(header, [(rows.line_num, row) for row in rows])
    except UnicodeDecodeError:
        raise InvalidLines([("body", "the file is not UTF-8")]) from None
    except csv.Error:
        raise InvalidLines([("body", "the file is not CSV")]) from None


def _lines(header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> list[bytes]:
    if len(set(header)) < len(header):
        raise InvalidLines([("line 1", "the header has a name twice")])
    lines = [b""]
    errors: list[tuple[str, str]] = []
    for number, row in rows:
        lines += [b""] * (number - 1 - len(lines))
        if row and len(row) != len(header):
            errors.append((f"line {number}", f"has {len(row)} fields; the header has {len(header)}"))
        found = {name: value for name, value in zip(header, row, strict=False) if value}
        lines.append(orjson.dumps(found) if found else b"")
    if errors:
        raise InvalidLines(errors[:MOST_ERRORS])
    return lines
