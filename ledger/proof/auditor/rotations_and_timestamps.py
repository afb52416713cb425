"""What a bundle brings along for steps 2 and 3: rotations of the log's key, and timestamps on the checkpoint.

Of docs/formats/bundle.md, sections 9 and 10. Rotations are checked here. A timestamp is a CMS message: this program only
looks whether the checkpoint's digest is in it, and says how to have the rest checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.findings import Problems, Wrong
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.zip import Member
from ledger.proof.tlog.key_rotation import (
    MAX_ROTATIONS_BYTES,
    Rotation,
    check_rotation,
    followed,
    key_name,
    split_rotations,
)
from ledger.proof.tlog.merkle import LogError
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust


@dataclass(frozen=True)
class KeyChange:
    """A rotation of the bundle. `followed`: a key that the auditor gave leads to it."""

    old: str
    new: str
    followed: bool


@dataclass(frozen=True)
class Stamp:
    """A timestamp that was not verified; the command that does."""

    file: str
    authority: str
    digest: str

    @property
    def command(self) -> str:
        """For a shell, in the folder of the bundle; the certificates of the authority are the reader's to get."""
        return bundle.stamp_command(self.file, self.digest)


def follow(
    files: Mapping[str, Member], origin: str, trusted: Trust, problems: Problems
) -> tuple[Trust, list[KeyChange]]:
    """Whom the auditor may trust, given the rotations, and what these are. Raises BundleError."""
    member = files.get(bundle.ROTATIONS)
    sound = [] if member is None else _sound(member.read(MAX_ROTATIONS_BYTES), origin, problems)
    taken = followed(trusted.log, sound)
    changes = [KeyChange(key_name(one.old), key_name(one.new), one in taken) for one in sound]
    return trusted.follow(taken), changes


def _sound(data: bytes, origin: str, problems: Problems) -> list[Rotation]:
    """Those that both keys signed; each other one is a finding."""
    found: list[Rotation] = []
    try:
        notes = split_rotations(data)
    except LogError as error:
        problems.add(Wrong.BAD_ROTATION, 0, f"the rotations: {error}")
        return found
    for number, note in enumerate(notes, 1):
        try:
            found.append(check_rotation(note, origin))
        except LogError as error:
            problems.add(Wrong.BAD_ROTATION, 0, f"rotation {number}: {str(error)[:500]}")
    return found


def tell_changes(changes: Sequence[KeyChange], given: Sequence[VerifierKey]) -> list[str]:
    """A line on each rotation."""
    names = {key_name(key) for key in given}
    told = []
    for one in changes:
        line = f"{one.old} handed over to {one.new}, as both signed"
        if one.followed or one.old in names:
            pass
        elif one.new in names:
            line += f"; what {one.old} signed counts only if you give that key, too"
        else:
            line += "; not followed, as no key that you gave leads there"
        told.append(line)
    return told


def check_stamps(files: Mapping[str, Member], manifest: Manifest, note: bytes, problems: Problems) -> list[Stamp]:
    """The timestamps, each with the checkpoint's digest in it or a finding. Raises BundleError."""
    names = [bundle.stamp_name(number) for number in range(1, len(manifest.timestamps) + 1)]
    there = sorted(name for name in files if name in bundle.STAMPS)
    if sorted(names) != there:
        problems.add(Wrong.FILE_MISMATCH, 0, "the timestamps that the manifest names are not those that are there")
        return []
    digest = sha256(bundle.as_signed(note)).digest()
    found = []
    for name, authority in zip(names, manifest.timestamps, strict=True):
        if digest in files[name].read(bundle.MAX_STAMP_BYTES):
            found.append(Stamp(name, authority, digest.hex()))
        else:
            problems.add(Wrong.BAD_TIMESTAMP, 0, f"{name} is not over this checkpoint: its digest is not in it")
    return found


def tell_stamps(stamps: Sequence[Stamp]) -> list[str]:
    """Lines on each timestamp."""
    told = []
    for one in stamps:
        told.append(f"{one.file}: a timestamp, said to be by {one.authority[:300]}, NOT VERIFIED here; this does it:")
        told.append(f"  {one.command}")
    return told
