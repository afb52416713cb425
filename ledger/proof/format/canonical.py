"""Canonical JSON, RFC 8785 (JCS): one text, and so one hash, for one value.

orjson writes the same bytes as RFC 8785 wherever there is no float (it prints 1.0 and 1e16 in its own way) and no
object key beyond ASCII (it sorts by code point, the RFC by UTF-16 unit). All else goes to the `rfc8785` package.
"""

from __future__ import annotations

import math
from typing import Any, cast

import orjson
import rfc8785

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class NotCanonical(ValueError):
    """The value has no canonical form. `path` leads to it, as in `data.notes[2]`; `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or 'value'}: {reason}")
        self.path = path
        self.reason = reason


def canonical(value: JSON, *, path: str = "") -> bytes:
    """Return the canonical bytes of `value`, UTF-8. Raises NotCanonical, with `path` before the place in the value.

    Refused: NaN and infinities, integers beyond 2^53-1 in any notation (readers would not agree on them), U+0000
    and lone surrogates in strings, nesting deeper than 64, and what is not JSON (RFC 8785 section 3.1, RFC 7493).
    """
    if _check(value, path, 1):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return rfc8785.dumps(value)


def _check(value: JSON, path: str, depth: int) -> bool:
    """Return True if orjson writes this value as RFC 8785 requires. `depth` counts the containers down to here."""
    kind = type(value)
    if kind is str:
        return _check_string(cast(str, value), path)
    if kind is dict:
        return _check_object(cast("dict[str, JSON]", value), path, depth)
    if kind is list:
        _check_depth(path, depth)
        plain = True
        for index, item in enumerate(cast("list[JSON]", value)):
            plain &= _check(item, f"{path}[{index}]", depth + 1)
        return plain
    if kind is int:
        _check_magnitude(abs(cast(int, value)), path)
        return True
    if kind is float:
        return _check_float(cast(float, value), path)
    if value is None or kind is bool:
        return True
    raise NotCanonical(path, f"a {kind.__name__} is not JSON")


def _check_object(value: dict[str, JSON], path: str, depth: int) -> bool:
    _check_depth(path, depth)
    plain = True
    for key, item in value.items():
        if type(key) is not str:
            raise NotCanonical(path, f"the key {key!r} is not a string")
        place = f"{path}.{key}" if path else key
        _check_string(key, place)
        plain &= key.isascii()
        # The most common leaf, without a call.
        if type(item) is str and item.isascii() and "\0" not in item:
            continue
        plain &= _check(item, place, depth + 1)
    return plain


def _check_string(value: str, path: str) -> bool:
    if "\0" in value:
        raise NotCanonical(path, "U+0000 is not allowed in a string")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            # The path may hold the same characters; the message must be printable.
            raise NotCanonical(path.encode("utf-8", "replace").decode(), "a lone surrogate is not text") from None
    return True


def _check_float(value: float, path: str) -> bool:
    if not math.isfinite(value):
        raise NotCanonical(path, f"{value} is not a JSON number")
    if value.is_integer():
        _check_magnitude(abs(value), path)
    return False


def _check_magnitude(size: float, path: str) -> None:
    if size > MAX_INTEGER:
        raise NotCanonical(path, "integers beyond 2^53-1 do not survive every JSON reader; send a string")


def _check_depth(path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise NotCanonical(path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0], f"nested deeper than {MAX_DEPTH}")


def parse_object(data: bytes) -> dict[str, Any]:
    """Parse canonical JSON. Raises ValueError if it is not JSON, not an object, or not canonical.

    A text that equals orjson's sorted output has no member twice, no white space, and members in order. orjson spells
    some numbers in another way than RFC 8785; both spellings are accepted.
    """
    value = orjson.loads(data)
    if type(value) is not dict:
        raise NotCanonical("", "not an object")
    if quick(value) != data and canonical(value) != data:
        raise NotCanonical("", "not in canonical form")
    return value


def quick(value: Any) -> bytes:
    """Return orjson's sorted output, which is RFC 8785 for most values; empty for a value that is nested too deep."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return b""
