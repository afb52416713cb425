"""Write rows as CSV (RFC 4180), for spreadsheets, or as lines of JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from api.http.media_types import CSV

# A spreadsheet would read a cell that begins like this as a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def heading(media_type: str, names: Sequence[str]) -> bytes:
    """Return the part before the first row: for CSV the names of the columns."""
    return _lines([names]) if media_type == CSV else b""


def encode(rows: Sequence[Mapping[str, Any]], media_type: str, names: Sequence[str]) -> bytes:
    """Write rows, each with these members in this order."""
    if media_type == CSV:
        return _lines([[_cell(row[name]) for name in names] for row in rows])
    return b"".join(
        orjson.dumps({name: row[name] for name in names}, default=str, option=orjson.OPT_UTC_Z) + b"\n" for row in rows
    )


def _lines(lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Write a value as JSON, but text without quotes, and null as an empty cell."""
    if value is None:
        return ""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return str(value)
    written = orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode().strip('"')
    text = value if isinstance(value, str) else written
    return f"'{text}" if text.startswith(FORMULAS) else text
