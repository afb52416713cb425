"""Verify rotations of a log's key: docs/formats/bundle.md, section 9.

A rotation is a signed note of seven lines: the statement that one key hands over to another, and the signatures of
both. Rotations lead a reader from a trusted key to the keys that came after it, and to no other key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.note import VerifierKey, open_note, parse

HEADER = "advice-ledger/log-key-rotation/v1"
# Lines of a note: four of the statement, an empty one, two signatures.
LINES = 7
MAX_ROTATIONS = 100
MAX_ROTATIONS_BYTES = 1024 * 1024


class RotationFlaw(StrEnum):
    """The reasons for which a note is not a rotation."""

    STATEMENT = "not the statement of a rotation"
    ONE_KEY = "both keys are the same"
    OTHER_LOG = "of another log"
    ONE_SIDED = "not signed by both keys, and by nobody else"
    TOO_MANY = "too many rotations"


class RotationError(EvidenceError):
    """The note does not show that one key hands over to another."""


@dataclass(frozen=True)
class Rotation:
    """`old` hands over to `new`. Both signed the note."""

    old: VerifierKey
    new: VerifierKey
    note: bytes


def key_name(key: VerifierKey) -> str:
    """Return name and id, as in `name+0123abcd`."""
    return f"{key.name}+{key.key_id:08x}"


def statement(old: VerifierKey, new: VerifierKey) -> str:
    """Return the text that both keys sign."""
    return f"{HEADER}\norigin {old.name}\nold {old.text}\nnew {new.text}\n"


def check_rotation(data: bytes, origin: str) -> Rotation:
    """Verify a rotation of the log of this name. Raises EvidenceError."""
    note = parse(data)
    lines = note.text.split("\n")
    parts = [line.partition(" ") for line in lines[1:4]]
    if len(lines) != 5 or lines[0] != HEADER or [name for name, *_ in parts] != ["origin", "old", "new"]:
        raise RotationError(RotationFlaw.STATEMENT, ascii(note.text[:80]))
    named, old, new = parts[0][2], VerifierKey.parse(parts[1][2]), VerifierKey.parse(parts[2][2])
    if {named, old.name, new.name} != {origin}:
        raise RotationError(RotationFlaw.OTHER_LOG, f"{named[:300]!a}, where {origin[:300]!a} is read")
    if old == new:
        raise RotationError(RotationFlaw.ONE_KEY, key_name(old))
    verified = open_note(data, [old, new]).verified
    # Keys are counted, not signatures: one key can sign a text in several ways.
    signers = {(signature.name, signature.key_id) for signature in verified}
    if len(note.signatures) != len(signers) or signers != {(key.name, key.key_id) for key in (old, new)}:
        raise RotationError(RotationFlaw.ONE_SIDED, f"from {key_name(old)} to {key_name(new)}")
    return Rotation(old, new, data)


def split_rotations(data: bytes) -> list[bytes]:
    """Split the member `rotations` into notes, none of them verified. Raises RotationError."""
    lines = data.split(b"\n")
    if lines.pop() != b"" or len(lines) % LINES:
        raise RotationError(RotationFlaw.STATEMENT, f"not {LINES} lines each")
    if len(lines) > LINES * MAX_ROTATIONS:
        raise RotationError(RotationFlaw.TOO_MANY, f"more than {MAX_ROTATIONS}")
    return [b"\n".join(lines[at : at + LINES]) + b"\n" for at in range(0, len(lines), LINES)]


def followed(trusted: Sequence[VerifierKey], rotations: Sequence[Rotation]) -> list[Rotation]:
    """Return the rotations that lead from trusted keys to further ones, in order. None is followed backwards."""
    known, taken = set(trusted), list[Rotation]()
    while further := [each for each in rotations if each.old in known and each.new not in known]:
        taken.append(further[0])
        known.add(further[0].new)
    return taken
