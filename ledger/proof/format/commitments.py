"""Commitments opened (docs/formats/event.md, section 3)."""

from __future__ import annotations

import re
from binascii import unhexlify
from hashlib import sha256
from typing import Any

import orjson

from ledger.proof.format.canonical import canonical
from ledger.proof.format.hashes import SALT_BYTES, SEALED_PREFIX, commitment
from ledger.proof.format.parse import quick

MAX_VALUE_BYTES = 8_388_608
# In `fields` each name has quotes, a colon, and a comma or a brace.
AROUND_BYTES = 4

_is_name = re.compile("[a-z][a-z_]*").fullmatch
_loads, _dumps, _SORTED = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS


class NotCommitted(ValueError):
    """Sealed values are not those that the event commits to; the message names the fields."""


def open_sealed(commitments: dict[str, Any], salts: bytes, fields: bytes) -> int:
    """How many commitments (hex, by name) open to the values in `fields` with `salts`, both JSON objects by name.

    A commitment without a value is an erased one. Raises ValueError: a commitment does not open, a value has none, or
    the values are not in canonical form, a name is none, or there is more than these names can have.
    """
    if len(commitments) == 1 and one_opens(commitments, salts, fields):
        return 1
    _check_extent(commitments, fields)
    values, salt_of = _loads(fields), _loads(salts)
    if type(values) is not dict or type(salt_of) is not dict:
        raise NotCommitted("the sealed values or their salts are no JSON object")
    parts = []
    for name, wanted in commitments.items():
        if name in values:
            value = quick(values[name])
            if not _opens(name, salt_of.get(name), value, wanted):
                value = canonical(values[name])
                if not _opens(name, salt_of.get(name), value, wanted):
                    raise NotCommitted(f"the sealed {name} is not what the event commits to")
            parts.append(b'"%b":%b' % (name.encode(), value))
    if b"{%b}" % b",".join(parts) != fields:
        extra = ", ".join(sorted(values.keys() - commitments.keys()))
        raise NotCommitted(f"sealed values without a commitment: {extra}" if extra else "not in canonical form")
    return len(parts)


def _check_extent(commitments: dict[str, Any], fields: bytes) -> None:
    """Before anything is parsed: the names are names, and their values are no larger than values may be."""
    for name in commitments:
        if not _is_name(name):
            raise NotCommitted(f"{name[:100]!a} is no name of a sealed field")
    if len(fields) > 1 + sum(len(name) + AROUND_BYTES + MAX_VALUE_BYTES for name in commitments):
        raise NotCommitted("sealed values that are too large")


def one_opens(commitments: dict[str, Any], salts: bytes, fields: bytes) -> str:
    """The name of the only commitment, if it opens, by the layout {"name":value} and {"name":"salt"}: so with most.

    What it opens to is the canonical JSON that was committed to. An empty string says nothing: some values are left to
    open_sealed(), such as fractions that orjson spells in a way of its own.
    """
    ((name, wanted),) = commitments.items()
    if not _is_name(name) or len(fields) > 1 + len(name) + AROUND_BYTES + MAX_VALUE_BYTES:
        return ""
    try:
        plain = name.encode("ascii")
        start = b'{"%b":"' % plain
        length = len(start)
        # The ends are seen where nothing else is left: 64 digits and two characters, and one after the value.
        if salts[:length] != start or salts[length + 64 :] != b'"}' or fields[: length - 1] != start[:-1]:
            return ""
        salt = unhexlify(salts[length:-2])
        # Laid out as commitment() does, short of a call: this is done for nearly every event.
        parts = (SEALED_PREFIX, salt, b'["', plain, b'",', fields[length - 1 : -1], b"]")
        if sha256(b"".join(parts)).hexdigest() != wanted:
            return ""
        # That it was committed to does not make it JSON, or one value, or canonical.
        values = _loads(fields)
        opens = len(values) == 1 and _dumps(values, None, _SORTED) == fields
    except (ValueError, orjson.JSONEncodeError):  # No hex, no JSON, or JSON that is nested too deep.
        return ""
    return name if opens else ""


def _opens(name: str, salt: Any, value: bytes, wanted: Any) -> bool:
    try:
        raw = bytes.fromhex(salt)
        return len(raw) == SALT_BYTES and commitment(name, raw, value) == wanted
    except (ValueError, TypeError):  # No hex, no text, or a name that no field has.
        return False
