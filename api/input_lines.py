"""Parse inputs of monitoring as lines of NDJSON, or of CSV with a header. Errors name the line and field."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from api.ndjson import MOST_ERRORS, errors_of, members_of, parse_lines
from ledger.errors import InvalidLines
from ledger.service.monitoring.bulk_holdings import ValuationLine
from ledger.service.monitoring.corporate_actions import ActionLine
from ledger.service.monitoring.flows import FlowLine
from schema.events import RecordAction, RecordFlow, RecordValuation
from schema.portfolios import PortfolioName

# More bytes than the longest line of an action or a flow needs; and than a thousand values with the longest names.
MOST_LINE_BYTES = 16 * 1024
MOST_VALUATION_BYTES = 256 * 1024


def parse_actions(lines: Iterable[bytes], first: int = 1) -> list[ActionLine]:
    """Read corporate actions, one on each line. Raises InvalidLines with all errors."""
    return parse_lines(lines, first, _action)


def _action(number: int, text: bytes) -> ActionLine:
    try:
        return ActionLine(number, RecordAction.model_validate(members_of(number, text, MOST_LINE_BYTES)))
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None


class _Named(BaseModel):
    """The portfolio of a line."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    portfolio: PortfolioName


def parse_flows(lines: Iterable[bytes], first: int = 1) -> list[FlowLine]:
    """Read flows, one on each line, with the portfolio. Raises InvalidLines with all errors."""
    return parse_lines(lines, first, _flow)


def _flow(number: int, text: bytes) -> FlowLine:
    name, rest = _named(number, text, MOST_LINE_BYTES)
    try:
        return FlowLine(number, name, RecordFlow.model_validate(rest))
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None


def parse_valuations(lines: Iterable[bytes], first: int = 1) -> list[ValuationLine]:
    """Read valuations, one portfolio on each line. Raises InvalidLines with all errors."""
    return parse_lines(lines, first, _valuation)


def _valuation(number: int, text: bytes) -> ValuationLine:
    name, rest = _named(number, text, MOST_VALUATION_BYTES)
    try:
        return ValuationLine(number, name, RecordValuation.model_validate(rest))
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None


def _named(number: int, text: bytes, most_bytes: int) -> tuple[str, dict[str, Any]]:
    """Return the portfolio of a line, and its other members. Raises InvalidLines."""
    members = members_of(number, text, most_bytes)
    try:
        name = _Named.model_validate(members).portfolio
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None
    return name, {member: value for member, value in members.items() if member != "portfolio"}


def of_each_asset(lines: Sequence[bytes]) -> list[bytes]:
    """Join rows of `portfolio`, `asset`, `value` and other columns into one line for each portfolio, at its first row.

    Rows of a portfolio follow each other and have the same other members. Raises InvalidLines.
    """
    found: list[bytes] = []
    at, before, values = 0, None, dict[str, str]()
    for number, text in enumerate(lines, 1):
        found.append(b"")
        if not text:
            continue
        row = orjson.loads(text)
        asset, value = row.pop("asset", ""), row.pop("value", "")
        if row != before:
            at, before, values = number, row, {}
        if asset in values:
            raise InvalidLines([(f"line {number}: asset", "stands twice for this portfolio")])
        values[asset] = value
        found[at - 1] = orjson.dumps({**row, "values": values})
    return found


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
