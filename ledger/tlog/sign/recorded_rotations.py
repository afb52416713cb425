"""Read the recorded rotations of the signing key, from the stream `policy-log-key`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.database import Connection
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.key_rotation import Rotation, check_rotation
from ledger.proof.tlog.note import KEY_ID_BYTES, Note, Signature, strict_base64

STREAM = "policy-log-key"
ROTATIONS = "SELECT position, body FROM events WHERE stream = %s ORDER BY version"


@dataclass(frozen=True)
class RecordedRotation:
    """A rotation and its position. The old key signs only checkpoints over fewer events than the position."""

    position: int
    rotation: Rotation


def recorded_rotations(conn: Connection, origin: str) -> list[RecordedRotation]:
    """Return the rotations in order. Events whose signatures do not hold are left out. Raises psycopg.Error."""
    return rotations_in(conn.execute(ROTATIONS, [STREAM]).fetchall(), origin)


def rotations_in(rows: Iterable[tuple[int, str]], origin: str) -> list[RecordedRotation]:
    """Return the rotations in rows of ROTATIONS, as recorded_rotations() does."""
    rotations = []
    for position, body in rows:
        with contextlib.suppress(EvidenceError, ValueError, LookupError, TypeError):
            rotations.append(RecordedRotation(int(position), rotation_of(orjson.loads(body)["data"], origin)))
    return rotations


def rotation_of(data: dict[str, Any], origin: str) -> Rotation:
    """Return the rotation in an event's data, with its signatures checked.

    Raises EvidenceError; ValueError, LookupError or TypeError for malformed data.
    """
    raw = [strict_base64(data[name]) for name in ("old_signature", "new_signature")]
    signatures = [
        Signature(origin, int.from_bytes(signature[:KEY_ID_BYTES], "big"), signature[KEY_ID_BYTES:])
        for signature in raw
    ]
    rotation = check_rotation(Note(data["statement"], tuple(signatures)).encode(), origin)
    if (rotation.old.text, rotation.new.text) != (data["old"], data["new"]):
        raise ValueError("the statement is not about these keys")
    return rotation
