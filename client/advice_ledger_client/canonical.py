"""Canonical JSON (RFC 8785) of the values that the ledger records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import rfc8785

from advice_ledger_client.errors import NotCanonical

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 64


def canonical(value: object) -> bytes:
    """Return the canonical JSON of `value`, UTF-8. Mappings count as objects, lists and tuples as arrays.

    Raises NotCanonical for what the server would refuse: NaN and infinities, integers beyond 2^53-1, U+0000 and lone
    surrogates in strings, nesting deeper than 64, and types that JSON does not have.
    """
    return rfc8785.dumps(_plain(value, "", 1))


def _plain(value: object, path: str, depth: int) -> Any:
    """Return `value` as the dicts and lists that rfc8785 takes. `depth` counts the containers down to this place."""
    if isinstance(value, str):
        return _string(value, path)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, path)
    if not isinstance(value, Mapping | list | tuple):
        raise NotCanonical(path, f"a {type(value).__name__} is not JSON")
    if depth > MAX_DEPTH:
        raise NotCanonical(path.split(".", maxsplit=1)[0].split("[", maxsplit=1)[0], f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        return {key: _member(key, item, path, depth) for key, item in value.items()}
    return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]


def _member(key: object, item: object, path: str, depth: int) -> Any:
    if not isinstance(key, str):
        raise NotCanonical(path, f"the key {key!r} is not a string")
    place = f"{path}.{key}" if path else key
    _string(key, place)
    return _plain(item, place, depth + 1)


def _string(value: str, path: str) -> str:
    if "\0" in value:
        raise NotCanonical(path, "U+0000 is not allowed in a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # The path may contain the same characters; the message must be printable.
            raise NotCanonical(path.encode("utf-8", "replace").decode(), "a lone surrogate is not text") from None
    return value


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise NotCanonical(path, f"{value} is not a JSON number")
    if value == int(value) and abs(value) > MAX_INTEGER:
        raise NotCanonical(path, "integers beyond 2^53-1 do not survive every JSON reader; send a string")
    return value
