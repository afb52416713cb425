"""Commitments opened (docs/format.md, section 3)."""

from __future__ import annotations

from binascii import unhexlify
from typing import Any

import orjson

from ledger.proof.canonical import canonical
from ledger.proof.chain import SALT_BYTES, commitment
from ledger.proof.parse import quick


class NotCommitted(ValueError):
    """Sealed values are not those that the event commits to; the message names the fields."""


def open_sealed(commitments: dict[str, Any], salts: bytes, fields: bytes) -> int:
    """How many commitments (hex, by name) open to the values in `fields` with `salts`, both JSON objects by name.

    A commitment without a value is an erased one. Raises ValueError: a commitment does not open, a value has none, or
    the values are not in canonical form.
    """
    if len(commitments) == 1 and _one_opens(commitments, salts, fields):
        return 1
    values, salt_of = orjson.loads(fields), orjson.loads(salts)
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


def _one_opens(commitments: dict[str, Any], salts: bytes, fields: bytes) -> bool:
    """Whether the only commitment opens, by the layout {"name":value} and {"name":"salt"}: most events have one field.

    What it opens to is the canonical JSON that was committed to. False says nothing.
    """
    ((name, wanted),) = commitments.items()
    start = b'{"%b":"' % name.encode()
    length = len(start)
    if salts[:length] != start or salts[-2:] != b'"}' or fields[: length - 1] != start[:-1] or fields[-1:] != b"}":
        return False
    try:
        salt = unhexlify(salts[length:-2])
        return len(salt) == SALT_BYTES and commitment(name, salt, fields[length - 1 : -1]) == wanted
    except ValueError:  # No hex, or no name that a field has.
        return False


def _opens(name: str, salt: Any, value: bytes, wanted: Any) -> bool:
    try:
        raw = bytes.fromhex(salt)
        return len(raw) == SALT_BYTES and commitment(name, raw, value) == wanted
    except (ValueError, TypeError):  # No hex, no text, or a name that no field has.
        return False
