"""Check that content which the server shows is what its digest commits to, before a person decides about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785

from advice_ledger_client.canonical import MAX_INTEGER
from advice_ledger_client.errors import ContentMismatch

PREFIX = b"advice-ledger/sealed/v1\n"
# The contents of a row, and the member with the digest of each.
DIGESTS = {"recommendation": "digest", "replacement": "replacement_digest"}


def checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a recommendation if its contents open their digests. Raises ContentMismatch.

    Contents that are null were erased, or do not exist. After an edit took effect, `digest` is that of the replacement.
    """
    contents = {name: row[name] for name in DIGESTS if row.get(name) is not None}
    edited = "replacement" in contents and row["digest"] == row["replacement_digest"]
    for name, content in contents.items():
        other = edited and name == "recommendation"
        if not other and digest_of(name, content, _salt(row.get("salts"), name)) != row[DIGESTS[name]]:
            raise ContentMismatch(row["id"], name)
    return row


def digest_of(name: str, content: object, salt: bytes) -> str:
    """Return the digest of a content: the commitment to it (docs/formats/event.md, section 3)."""
    return hashlib.sha256(PREFIX + salt + rfc8785.dumps([name, _as_recorded(content)])).hexdigest()


def _as_recorded(value: Any) -> Any:
    """Return the value with numbers as they were recorded: an integer beyond 2^53-1 was a float."""
    if isinstance(value, Mapping):
        return {key: _as_recorded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_recorded(item) for item in value]
    beyond = isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER
    return float(value) if beyond else value


def _salt(salts: object, name: str) -> bytes:
    """Return the salt of a content; empty if the server does not give a proper one, which opens nothing."""
    text = salts.get(name) if isinstance(salts, Mapping) else None
    try:
        return bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return b""
