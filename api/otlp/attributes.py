"""Attributes of spans as plain JSON, and the readers that take what has the right type and size from them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from api.otlp.allowlist import code
from api.otlp.encoding import exact
from ledger.proof.format.canonical import NotCanonical, canonical

MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 20_000

Attributes = dict[str, Any]


def plain(attributes: Iterable[KeyValue]) -> Attributes:
    """Attributes by name; of one that stands twice the last counts."""
    return {attribute.key: _value(attribute.value) for attribute in attributes}


def _value(value: AnyValue) -> Any:
    """One value. Numbers that JSON readers would not agree on become strings, bytes become base64."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    found = None if kind is None else getattr(value, kind)
    if isinstance(found, bytes):
        return base64.b64encode(found).decode()
    if isinstance(found, int | float) and not exact(found):
        return str(found)
    return found


def name(value: Any) -> str | None:
    """A text of 1 to 200 characters; None for all else."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS else None


def codes(value: Any) -> list[str] | None:
    """A list of codes, also where one stands alone; what is none is left out."""
    found = value if isinstance(value, list) else [value]
    return [known for one in found[:100] if (known := code(one))] or None


def count(value: Any) -> int | None:
    """A number that is not negative."""
    return value if type(value) is int and value >= 0 else None


def text(value: Any) -> str | None:
    """Free text, as much of it as the ledger holds; the raw span has it whole."""
    return value[:MAX_TEXT_CHARS].replace("\0", "\ufffd") if isinstance(value, str) and value else None


def structured(value: Any) -> Any:
    """What an attribute holds as JSON text, or as it is.

    JSON that has no canonical form (too deep, numbers too large, escapes that are no text) stays the text it was.
    """
    if not isinstance(value, str):
        return value
    try:
        found = orjson.loads(value)
        canonical(found)
    except (orjson.JSONDecodeError, NotCanonical):
        return value
    return found


def first(attributes: Attributes, *keys: str) -> Any:
    """The value of the first of these that is there."""
    return next((attributes[key] for key in keys if attributes.get(key) is not None), None)
