"""Open the commitments to sealed values: docs/formats/event.md, section 3."""

from __future__ import annotations

import re
from typing import Any

import orjson

from ledger.proof.format.canonical import canonical, quick
from ledger.proof.format.hashes import SALT_BYTES, commitment

MAX_VALUE_BYTES = 8_388_608
# Each name in `fields` has quotes, a colon, and a comma or a brace.
AROUND_BYTES = 4

_is_name = re.compile("[a-z][a-z_]*").fullmatch


class NotCommitted(ValueError):
    """The sealed values differ from those that the event commits to. The message names the fields."""


def open_sealed(commitments: dict[str, Any], salts: bytes, fields: bytes) -> int:
    """Open commitments (hex digits, by name) with the JSON objects `salts` and `fields`; return how many opened.

    A commitment without a value is an erased one. Raises ValueError if a commitment does not open or a value has none,
    if the values are not in canonical form, or for an invalid name or values that are too large.
    """
    _check_extent(commitments, fields)
    values, salt_of = orjson.loads(fields), orjson.loads(salts)
    if type(values) is not dict or type(salt_of) is not dict:
        raise NotCommitted("the sealed values or their salts are not a JSON object")
    parts = []
    for name, wanted in commitments.items():
        if name in values:
            value = open_value(name, salt_of.get(name), values[name], wanted)
            if value is None:
                raise NotCommitted(f"the sealed {name} is not what the event commits to")
            parts.append(b'"%b":%b' % (name.encode(), value))
    if b"{%b}" % b",".join(parts) != fields:
        extra = ", ".join(sorted(values.keys() - commitments.keys()))
        raise NotCommitted(f"sealed values without a commitment: {extra}" if extra else "not in canonical form")
    return len(parts)


def open_value(name: str, salt: Any, value: Any, wanted: Any) -> bytes | None:
    """Open one commitment; return the value's canonical JSON, or None if it does not open. Raises ValueError."""
    for encode in (quick, canonical):
        text = encode(value)
        if _opens(name, salt, text, wanted):
            return text
    return None


def _check_extent(commitments: dict[str, Any], fields: bytes) -> None:
    """Before anything is parsed, check that the names are valid and that the values are not too large."""
    for name in commitments:
        if not _is_name(name):
            raise NotCommitted(f"{name[:100]!a} is not a valid name of a sealed field")
    if len(fields) > 1 + sum(len(name) + AROUND_BYTES + MAX_VALUE_BYTES for name in commitments):
        raise NotCommitted("sealed values that are too large")


def _opens(name: str, salt: Any, value: bytes, wanted: Any) -> bool:
    try:
        raw = bytes.fromhex(salt)
        return len(raw) == SALT_BYTES and commitment(name, raw, value) == wanted
    except (ValueError, TypeError):  # the salt is not hex digits, or not text
        return False
