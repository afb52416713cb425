"""Key rotations and timestamps in a bundle, for steps 2 and 3: docs/formats/bundle.md, sections 9 and 10.

Rotations are verified here. A timestamp is a CMS message: this program only looks for the checkpoint's digest in it,
and prints the command that verifies the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.proof.bundle.manifest import Bundle, as_signed, stamp_command, stamp_name
from ledger.proof.errors import EvidenceError
from ledger.proof.findings import Findings, Kind
from ledger.proof.tlog.key_rotation import Rotation, check_rotation, followed, key_name, split_rotations
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust


@dataclass(frozen=True)
class KeyChange:
    """A rotation in the bundle. `followed`: it leads to a further key from one that the auditor gave."""

    old: str
    new: str
    followed: bool


@dataclass(frozen=True)
class Timestamp:
    """A timestamp that contains the checkpoint's digest, and is not verified."""

    file: str
    authority: str
    digest: str

    @property
    def command(self) -> str:
        """Return the shell command that verifies it. The auditor needs the authority's certificates from elsewhere."""
        return stamp_command(self.file, self.digest)


def follow_rotations(
    data: bytes | None, origin: str, trusted: Trust, findings: Findings
) -> tuple[Trust, list[KeyChange]]:
    """Return the keys that the auditor may trust, given the bundle's rotations, and a summary of each rotation."""
    sound = [] if data is None else _sound(data, origin, findings)
    taken = followed(trusted.log, sound)
    changes = [KeyChange(key_name(rotation.old), key_name(rotation.new), rotation in taken) for rotation in sound]
    return trusted.follow(taken), changes


def _sound(data: bytes, origin: str, findings: Findings) -> list[Rotation]:
    """Return the rotations that both keys signed. Each other one is a finding."""
    sound: list[Rotation] = []
    try:
        notes = split_rotations(data)
    except EvidenceError as error:
        findings.add(Kind.BAD_ROTATION, 0, f"the rotations: {error}")
        return sound
    for number, note in enumerate(notes, 1):
        try:
            sound.append(check_rotation(note, origin))
        except EvidenceError as error:
            findings.add(Kind.BAD_ROTATION, 0, f"rotation {number}: {str(error)[:500]}")
    return sound


def describe_changes(changes: Sequence[KeyChange], given: Sequence[VerifierKey]) -> list[str]:
    """Return a line of the report for each rotation."""
    own = {key_name(key) for key in given}
    lines = []
    for change in changes:
        line = f"{change.old} handed over to {change.new}, as both signed"
        if change.followed or change.old in own:
            pass
        elif change.new in own:
            line += f"; what {change.old} signed counts only if you give that key, too"
        else:
            line += "; not followed, as no key that you gave leads there"
        lines.append(line)
    return lines


def check_timestamps(bundle: Bundle, findings: Findings) -> list[Timestamp]:
    """Return the timestamps that contain the checkpoint's digest. Each other one is a finding."""
    listed = {stamp_name(number): by for number, by in enumerate(bundle.manifest.timestamps, 1)}
    if listed.keys() != bundle.timestamps.keys():
        findings.add(Kind.FILE_MISMATCH, 0, "the timestamps that the manifest names are not those in the file")
        return []
    digest = sha256(as_signed(bundle.checkpoint)).digest()
    timestamps = []
    for name, authority in listed.items():
        if digest in bundle.timestamps[name]:
            timestamps.append(Timestamp(name, authority, digest.hex()))
        else:
            findings.add(Kind.BAD_TIMESTAMP, 0, f"{name} is not over this checkpoint: its digest is not in it")
    return timestamps


def describe_timestamps(timestamps: Sequence[Timestamp]) -> list[str]:
    """Return two lines of the report for each timestamp."""
    lines = []
    for stamp in timestamps:
        lines.append(
            f"{stamp.file}: a timestamp, said to be by {stamp.authority[:300]}, NOT VERIFIED here; this does it:"
        )
        lines.append(f"  {stamp.command}")
    return lines
