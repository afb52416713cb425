"""One line of events.ndjson, taken apart: docs/formats/bundle.md, section 3."""

from __future__ import annotations

import re
from binascii import unhexlify
from typing import Any, NamedTuple

import orjson

from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.format.commitments import MAX_VALUE_BYTES

MAX_BODY_BYTES = 1_048_576
# Parsed JSON may take seventy times its length. So a line beyond this is looked at before it is parsed: only `withheld`
# may be a list, of so many bytes.
LARGE_BYTES = 1024 * 1024
_FLAT = re.compile(
    rb'\{(?:"[a-z_]{1,20}":(?:"(?:[^"\\]++|\\.)*+"|-?[0-9]{1,20}|\[[^][{}]{0,65536}\])(?:,|\}\Z)){6,9}', re.DOTALL
)
# No single value can have more lists and objects, which are what takes most memory; several values could.
MAX_CONTAINERS = 4_194_304
# What a salt takes: its digits, a name of one letter, and what is around them.
_SALT_BYTES = 70

# Members that each line has; three more are about sealed values.
_PLAIN = 6

_loads, _dumps, _SORTED = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS

# A plain tuple in the order of Line, which is quicker to make.
Parts = tuple[int, int, int, bytes, bytes, bytes, bytes, bytes, tuple[str, ...]]


class _Odd(ValueError):
    """A line that no bundle has; the message says why."""


class Line(NamedTuple):
    """An event as the bundle has it; `fields` and `salts` are empty where nothing is disclosed."""

    position: int
    version: int
    recorded_at_us: int
    prev_hash: bytes
    hash: bytes
    body: bytes
    fields: bytes
    salts: bytes
    withheld: tuple[str, ...]


def load_line(data: bytes) -> Any:
    """The JSON of a line. Raises ValueError, also for a large one that is not laid out as an event is."""
    if len(data) > LARGE_BYTES and not _FLAT.fullmatch(data):
        raise _Odd("too large for what is in it")
    return _loads(data)


def parse_line(data: bytes, after: int) -> Parts:
    """Takes a line apart. Raises BundleError unless it is one that the format allows; `after` is for the message."""
    try:
        found = load_line(data)
        if _dumps(found, None, _SORTED) != data:
            raise _Odd("not in canonical form")
        position, version, at = found["position"], found["version"], found["recorded_at_us"]
        if type(position) is not int or type(version) is not int or type(at) is not int:
            raise _Odd("numbers that are none")
        before, own = found["prev_hash"], found["hash"]
        prev_hash, digest, body = unhexlify(before), unhexlify(own), found["body"].encode()
        if len(own) != 64 or len(before) != 64 or digest.hex() != own or prev_hash.hex() != before:
            raise _Odd("hashes that are none")
        if len(body) > MAX_BODY_BYTES:
            raise _Odd(f"a body of more than {MAX_BODY_BYTES} bytes")
        if len(found) == _PLAIN:
            return position, version, at, prev_hash, digest, body, b"", b"", ()
        return position, version, at, prev_hash, digest, body, *sealed_members(found)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        message = str(error) if isinstance(error, _Odd) else type(error).__name__
        raise BundleError(BundleFlaw.LINE, f"after position {after}: {message}") from None


def sealed_members(found: dict[str, Any]) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Values, salts, withheld names. Raises ValueError, or what comes of other types, where there are others."""
    more = len(found) - _PLAIN
    fields = salts = b""
    withheld: Any = ()
    if "fields" in found:
        fields, salts = found["fields"].encode(), found["salts"].encode()
        more -= 2
        # How many names the event commits to is not known yet; there is a salt for each.
        if len(fields) > len(salts) + len(salts) // _SALT_BYTES * MAX_VALUE_BYTES:
            raise _Odd("sealed values that are too large")
        if len(fields) > LARGE_BYTES and fields.count(b"[") + fields.count(b"{") > MAX_CONTAINERS:
            raise _Odd("sealed values of too many parts")
    if "withheld" in found:
        withheld = found["withheld"]
        if type(withheld) is not list or not withheld or sorted(set(withheld)) != withheld:
            raise _Odd("withheld names that are none")
        more -= 1
    if more or ("fields" in found and not (fields and salts)) or any(type(name) is not str for name in withheld):
        raise _Odd("other members than an event has")
    return fields, salts, tuple(withheld)
