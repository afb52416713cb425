"""Canonical JSON, read: the value of bytes that are exactly its canonical form (docs/format.md, section 2).

Bytes that orjson writes again as they were have sorted keys, none twice, and no white space. In ASCII, and without numbers
that orjson writes in its own way, they are canonical. All else is written by `canonical` and compared.
"""

from __future__ import annotations

from typing import Any

import orjson

from ledger.proof.canonical import MAX_INTEGER, NotCanonical, canonical

_FAST_DEPTH = 16
# orjson and RFC 8785 write a fraction alike from here on; below, they differ about when to use an exponent.
_FAST_FRACTION = 1e-5


def parse_object(data: bytes) -> dict[str, Any]:
    """The object that `data` is the canonical JSON of. Raises ValueError: not JSON, no object, or not canonical."""
    value = orjson.loads(data)
    if type(value) is not dict:
        raise NotCanonical("", "not an object")
    fast = data.isascii() and _alike(value, _FAST_DEPTH) and (b"\\" not in data or b"\\u0000" not in data)
    if (orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if fast else canonical(value)) != data:
        raise NotCanonical("", "not in canonical form")
    return value


def write(value: Any) -> bytes:
    """The canonical bytes of a value that came from JSON. Raises NotCanonical."""
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS) if _alike(value, _FAST_DEPTH) else b""
    return data if data.isascii() and b"\\" not in data and data else canonical(value)


def _alike(value: Any, depth: int) -> bool:
    """Whether orjson writes the numbers in the value as RFC 8785 does, and `depth` reaches down to the last of them."""
    kind = type(value)
    if kind is dict or kind is list:
        if not depth:
            return False
        for item in value.values() if kind is dict else value:
            if type(item) is not str and not _alike(item, depth - 1):
                return False
    elif kind is int:
        return -MAX_INTEGER <= value <= MAX_INTEGER
    elif kind is float:
        return not value.is_integer() and abs(value) >= _FAST_FRACTION
    return True
