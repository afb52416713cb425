"""One key of a log hands over to another, as both say: docs/formats/bundle.md, section 9.

The statement and both signatures make a signed note of seven lines. From a key that a reader trusts such notes lead to
the keys that came after it, and never to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.note import Note, SigningKey, VerifierKey, open_note, parse

HEADER = "advice-ledger/log-key-rotation/v1"
# Of a note: four of the statement, an empty one, two signatures.
LINES = 7
MAX_ROTATIONS = 100
MAX_ROTATIONS_BYTES = 1024 * 1024


class RotationFlaw(StrEnum):
    """Why a note is no rotation."""

    STATEMENT = "not the statement of a rotation"
    ONE_KEY = "both keys are the same"
    OTHER_LOG = "of another log"
    ONE_SIDED = "not signed by both keys, and by nobody else"
    TOO_MANY = "too many rotations"


class RotationError(EvidenceError):
    """The note does not show that one key hands over to another."""


@dataclass(frozen=True)
class Rotation:
    """`old` hands over to `new`, as the note shows, which both signed."""

    old: VerifierKey
    new: VerifierKey
    note: bytes


def key_name(key: VerifierKey) -> str:
    """Name and id, as in `name+0123abcd`."""
    return f"{key.name}+{key.key_id:08x}"


def statement(old: VerifierKey, new: VerifierKey) -> str:
    """What both keys sign."""
    return f"{HEADER}\norigin {old.name}\nold {old.text}\nnew {new.text}\n"


def sign_rotation(old: SigningKey, new: SigningKey) -> Rotation:
    """The note, with both signatures, checked. Raises EvidenceError where these are not two keys of one log."""
    text = statement(old.verifier, new.verifier)
    return check_rotation(Note(text, (old.sign(text), new.sign(text))).encode(), old.verifier.name)


def check_rotation(data: bytes, origin: str) -> Rotation:
    """The rotation that a note shows, of the log of this name. Raises EvidenceError."""
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
    # Which keys, and not how many signatures: one key can sign one text in several ways.
    signers = {(one.name, one.key_id) for one in verified}
    if len(note.signatures) != len(signers) or signers != {(key.name, key.key_id) for key in (old, new)}:
        raise RotationError(RotationFlaw.ONE_SIDED, f"from {key_name(old)} to {key_name(new)}")
    return Rotation(old, new, data)


def encode_rotations(rotations: Iterable[Rotation]) -> bytes:
    """The member `rotations` of a bundle."""
    return b"".join(one.note for one in rotations)


def split_rotations(data: bytes) -> list[bytes]:
    """The notes of the member `rotations`, each yet to be checked. Raises RotationError."""
    lines = data.split(b"\n")
    if lines.pop() != b"" or len(lines) % LINES:
        raise RotationError(RotationFlaw.STATEMENT, f"not {LINES} lines each")
    if len(lines) > LINES * MAX_ROTATIONS:
        raise RotationError(RotationFlaw.TOO_MANY, f"more than {MAX_ROTATIONS}")
    return [b"\n".join(lines[at : at + LINES]) + b"\n" for at in range(0, len(lines), LINES)]


def followed(trusted: Sequence[VerifierKey], rotations: Sequence[Rotation]) -> list[Rotation]:
    """Those that lead from trusted keys to further ones, each after those that lead to it. Never backwards."""
    known, found = set(trusted), list[Rotation]()
    while further := [one for one in rotations if one.old in known and one.new not in known]:
        found.append(further[0])
        known.add(further[0].new)
    return found


class Handovers:
    """Keys connected by rotations on record, each at its position: those after a key, and those before.

    A key vouches for the one that it handed over to without limit. For the one before it only as far as that signed
    until then: trees of fewer events than the position of the rotation. So a key that was replaced, perhaps because
    others know it, signs nothing new.
    """

    def __init__(self, given: Sequence[VerifierKey], recorded: Sequence[tuple[int, Rotation]] = ()) -> None:
        rotations = [one for _, one in recorded]
        after = [*given, *(one.new for one in followed(given, rotations))]
        self._until: dict[str, int] = {}
        known = set(after)
        while earlier := [(at, one) for at, one in recorded if one.new in known and one.old not in known]:
            at, one = earlier[0]
            known.add(one.old)
            after.append(one.old)
            self._until[key_name(one.old)] = min(at, self._until.get(key_name(one.new), at))
        self.keys = tuple(dict.fromkeys(after))

    def until(self, signer: str | None) -> int | None:
        """Of how many events, and more, this signer's trees do not count, by its name and id; None: all count."""
        return None if signer is None else self._until.get(signer)
