"""Canonical JSON, read (docs/formats/event.md, sections 2 and 5).

Equal to orjson's own sorted output, it has no member twice, no white space, and members in order. Some numbers orjson
spells otherwise than RFC 8785, which makes no difference to a reader: either spelling is taken.
"""

from __future__ import annotations

from typing import Any

import orjson

from ledger.proof.format.canonical import NotCanonical, canonical


def parse_object(data: bytes) -> dict[str, Any]:
    """The object that `data` is the canonical JSON of. Raises ValueError: not JSON, no object, or not canonical."""
    value = orjson.loads(data)
    if type(value) is not dict:
        raise NotCanonical("", "not an object")
    if quick(value) != data and canonical(value) != data:
        raise NotCanonical("", "not in canonical form")
    return value


def quick(value: Any) -> bytes:
    """orjson's sorted output, which is RFC 8785 for most values; empty for one nested too deep."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return b""
