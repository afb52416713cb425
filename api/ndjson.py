"""Parse lines of NDJSON, with one JSON object on each. All errors are named, up to a limit, without values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from api.json_members import Repeated, check_members
from ledger.errors import InvalidLines

T = TypeVar("T")

MOST_ERRORS = 20


def parse_lines(lines: Iterable[bytes], first: int, parse: Callable[[int, bytes], T]) -> list[T]:
    """Parse lines, of which the first has this number; skip empty ones. Raises InvalidLines with all errors.

    `parse` raises InvalidLines for one line.
    """
    found: list[T] = []
    errors: list[tuple[str, str]] = []
    for number, text in enumerate(lines, first):
        if text.strip():
            try:
                found.append(parse(number, text))
            except InvalidLines as error:
                errors += error.errors
        if len(errors) >= MOST_ERRORS:
            break
    if errors:
        raise InvalidLines(errors)
    return found


def members_of(number: int, text: bytes, most_bytes: int) -> dict[str, Any]:
    """Return the members of the object on a line. Raises InvalidLines."""
    where = f"line {number}"
    if len(text) > most_bytes:
        raise InvalidLines([(where, f"over {most_bytes} bytes")])
    try:
        members = orjson.loads(text)
        check_members(text)
    except orjson.JSONDecodeError as error:
        raise InvalidLines([(where, f"not JSON: {error.msg}")]) from None
    except Repeated as error:
        raise InvalidLines([(f"{where}.{error}", "stands twice in one object")]) from None
    if not isinstance(members, dict):
        raise InvalidLines([(where, "Input should be a JSON object")])
    return members


def errors_of(number: int, error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield place and message of each error that pydantic finds in a line."""
    where = f"line {number}"
    for item in error.errors(include_input=False, include_url=False)[:MOST_ERRORS]:
        name = _text(item["loc"])
        yield (f"{where}: {name}" if name else where), str(item["msg"])


def _text(location: tuple[Any, ...]) -> str:
    return ".".join(map(str, location)).encode("utf-8", "replace").decode()[:200]
