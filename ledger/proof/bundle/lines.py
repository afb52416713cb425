"""Parse a line of events.ndjson: docs/formats/bundle.md, section 3."""

from __future__ import annotations

import re
from binascii import unhexlify
from typing import Any, NamedTuple

import orjson

from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.format.commitments import MAX_VALUE_BYTES

MAX_BODY_BYTES = 1_048_576
# Parsed JSON may take seventy times its length. A line longer than this must match _FLAT before it is parsed: only
# `withheld` may be a list, of at most 64 KiB.
LARGE_BYTES = 1024 * 1024
_FLAT = re.compile(
    rb'\{(?:"[a-z_]{1,20}":(?:"(?:[^"\\]++|\\.)*+"|-?[0-9]{1,20}|\[[^][{}]{0,65536}\])(?:,|\}\Z)){6,9}', re.DOTALL
)
# No single value can have more lists and objects, which are what takes most memory; several values could.
MAX_CONTAINERS = 4_194_304
# Bytes of the shortest member of `salts`: 64 digits, a name of one letter, four quotes and a colon.
_SALT_BYTES = 70

# Members that each line has; three more are about sealed values.
_PLAIN = 6


class _Malformed(ValueError):
    """A line that no bundle has; the message says why."""


class EventLine(NamedTuple):
    """An event as a bundle has it. `fields` and `salts` are empty where nothing is disclosed."""

    position: int
    version: int
    recorded_at_us: int
    prev_hash: bytes
    hash: bytes
    body: bytes
    fields: bytes
    salts: bytes
    withheld: tuple[str, ...]


def parse_line(data: bytes, after: int) -> EventLine:
    """Parse a line. Raises BundleError for one that the format does not allow, with the position `after` it."""
    try:
        # A large line is looked at before it is parsed.
        if len(data) > LARGE_BYTES and not _FLAT.fullmatch(data):
            raise _Malformed("too large for its contents")
        members = orjson.loads(data)
        if orjson.dumps(members, option=orjson.OPT_SORT_KEYS) != data:
            raise _Malformed("not in canonical form")
        position, version, time_us = members["position"], members["version"], members["recorded_at_us"]
        if type(position) is not int or type(version) is not int or type(time_us) is not int:
            raise _Malformed("malformed number")
        prev_hex, hash_hex = members["prev_hash"], members["hash"]
        prev_hash, digest, body = unhexlify(prev_hex), unhexlify(hash_hex), members["body"].encode()
        if len(hash_hex) != 64 or len(prev_hex) != 64 or digest.hex() != hash_hex or prev_hash.hex() != prev_hex:
            raise _Malformed("malformed hash")
        if len(body) > MAX_BODY_BYTES:
            raise _Malformed(f"a body of more than {MAX_BODY_BYTES} bytes")
        return EventLine(position, version, time_us, prev_hash, digest, body, *_sealed_members(members))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = str(error) if isinstance(error, _Malformed) else type(error).__name__
        raise BundleError(BundleFlaw.LINE, f"after position {after}: {message}") from None


def _sealed_members(members: dict[str, Any]) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Values, salts, withheld names. Raises ValueError, or what members of other types raise."""
    more = len(members) - _PLAIN
    fields = salts = b""
    withheld: Any = ()
    if "fields" in members:
        fields, salts = members["fields"].encode(), members["salts"].encode()
        more -= 2
        # How many names the event commits to is not known yet; there is a salt for each.
        if len(fields) > len(salts) + len(salts) // _SALT_BYTES * MAX_VALUE_BYTES:
            raise _Malformed("sealed values that are too large")
        if len(fields) > LARGE_BYTES and fields.count(b"[") + fields.count(b"{") > MAX_CONTAINERS:
            raise _Malformed("sealed values of too many parts")
    if "withheld" in members:
        withheld = members["withheld"]
        if type(withheld) is not list or not withheld or sorted(set(withheld)) != withheld:
            raise _Malformed("malformed withheld names")
        more -= 1
    if more or ("fields" in members and not (fields and salts)) or any(type(name) is not str for name in withheld):
        raise _Malformed("other members than an event has")
    return fields, salts, tuple(withheld)
