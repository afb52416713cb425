"""Decode the members of signatures and registrations strictly: each value has one valid text."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.proof.acts.errors import ActError, ActFlaw

_is_base64url = re.compile("[A-Za-z0-9_-]*").fullmatch
_is_time = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z").fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode(data: bytes) -> str:
    """Return base64url without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(members: dict[str, Any], name: str, most: int) -> bytes:
    """Return the bytes of a member in base64url without padding, at least one and at most `most`. Raises ActError."""
    text = members.get(name)
    if type(text) is not str or not 0 < len(text) <= (most * 4 + 2) // 3 or not _is_base64url(text):
        raise ActError(ActFlaw.ENCODING, f"{name} is not base64url without padding of 1 to {most} bytes")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        data = b""
    if encode(data) != text:
        raise ActError(ActFlaw.ENCODING, f"{name} is not base64url: it has bits or characters too many")
    return data


def decode_time(members: dict[str, Any], name: str) -> int:
    """Return a time in RFC 3339, in UTC, as microseconds since 1970. Raises ActError."""
    text = members.get(name)
    if type(text) is str and _is_time(text):
        try:
            return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
        except ValueError:  # such as the 30th of February
            pass
    raise ActError(ActFlaw.ENCODING, f"{name} is not a time such as 2026-07-01T12:00:00Z")
