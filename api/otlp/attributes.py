"""Span attributes as plain JSON, and readers that check type and size."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from math import isfinite
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from api.otlp.allowlist import code
from api.otlp.encoding import is_exact
from ledger.proof.format.canonical import MAX_INTEGER, NotCanonical, canonical

MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 20_000

Attributes = dict[str, Any]


def plain(attributes: Iterable[KeyValue]) -> Attributes:
    """Return attributes by name. If a name appears twice, the last counts."""
    return {attribute.key: value_of(attribute.value) for attribute in attributes}


def value_of(value: AnyValue) -> Any:
    """Convert one value. Numbers that JSON readers would not agree on become strings, bytes become base64."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    scalar = None if kind is None else getattr(value, kind)
    if isinstance(scalar, bytes):
        return base64.b64encode(scalar).decode()
    if isinstance(scalar, int | float) and not is_exact(scalar):
        return str(scalar)
    return scalar


def name(value: Any) -> str | None:
    """Return a text of 1 to 200 characters, or None."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS else None


def codes(value: Any) -> list[str] | None:
    """Return a list of codes from a list or a single value; values that are not codes are left out."""
    values = value if isinstance(value, list) else [value]
    return [known for item in values[:100] if (known := code(item))] or None


def count(value: Any) -> int | None:
    """Return an integer from 0 to MAX_INTEGER, also one that a sender wrote as a double, or None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_INTEGER else None


def milliseconds(seconds: Any) -> int | None:
    """Return a time in whole milliseconds, or None."""
    return count(round(seconds * 1000)) if type(seconds) in {int, float} and isfinite(seconds) else None


def text(value: Any) -> str | None:
    """Return free text, cut to the length that the ledger accepts; the raw span has all of it."""
    return value[:MAX_TEXT_CHARS].replace("\0", "\ufffd") if isinstance(value, str) and value else None


def structured(value: Any) -> Any:
    """Parse an attribute that contains JSON text; return any other value unchanged.

    JSON without a canonical form (too deep, numbers too large, lone surrogates) stays text.
    """
    if not isinstance(value, str):
        return value
    try:
        parsed = orjson.loads(value)
        canonical(parsed)
    except (orjson.JSONDecodeError, NotCanonical):
        return value
    return parsed


def first(attributes: Attributes, *keys: str) -> Any:
    """Return the value of the first of these keys that is present."""
    return next((attributes[key] for key in keys if attributes.get(key) is not None), None)
