"""The hashes of the chain: docs/formats/event.md, sections 3 and 4. Their twins in SQL are in schema/functions."""

from __future__ import annotations

import struct
from hashlib import sha256

GENESIS_PREFIX = b"advice-ledger/genesis/v1\n"
EVENT_PREFIX = b"advice-ledger/event/v1\n"
SEALED_PREFIX = b"advice-ledger/sealed/v1\n"

HASH_BYTES = 32
SALT_BYTES = 32

# Position, version and time of an event as they go into its hash. Raises struct.error beyond 64 bits.
event_header = struct.Struct(">QQq").pack


def genesis_hash(origin: str) -> bytes:
    """SHA-256("advice-ledger/genesis/v1\\n" || origin): the hash before position 1. 32 bytes."""
    return sha256(GENESIS_PREFIX + origin.encode("utf-8")).digest()


def event_hash(prev_hash: bytes, position: int, version: int, recorded_at_us: int, body: bytes) -> bytes:
    """SHA-256("advice-ledger/event/v1\\n" || prev_hash || u64 position || u64 version || i64 time || body). 32 bytes.

    `recorded_at_us` is in microseconds since 1970; integers are big-endian; `body` is the canonical JSON as recorded.
    """
    return sha256(b"".join((EVENT_PREFIX, prev_hash, event_header(position, version, recorded_at_us), body))).digest()


def commitment(name: str, salt: bytes, value: bytes) -> str:
    """SHA-256("advice-ledger/sealed/v1\\n" || salt || canonical JSON of [name, value]), 64 hex digits.

    `value` is canonical JSON already. Names of sealed fields are lower-case ASCII letters and underscores, so the
    array is canonical when its parts are.
    """
    return sha256(b"".join((SEALED_PREFIX, salt, b'["', name.encode("ascii"), b'",', value, b"]"))).hexdigest()
