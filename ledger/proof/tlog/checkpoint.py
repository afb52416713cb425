"""Checkpoints: what a log says its tree is, as the text of a signed note.

Source: C2SP tlog-checkpoint; docs/formats/tlog.md section 5. A malformed text or an unexpected origin raises
CheckpointError, a missing or bad signature NoteError; both are EvidenceError.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from ledger.proof.tlog.note import (
    TYPE_ED25519,
    Note,
    NoteError,
    NoteFlaw,
    Signature,
    SigningKey,
    VerifierKey,
    open_note,
    strict_base64,
)

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile(r"[^\x00-\x1f\ud800-\udfff]+")


class CheckpointFlaw(StrEnum):
    """Why the text of a note is no checkpoint, or not the one wanted."""

    LINES = "not three lines or more, none empty"
    SIZE = "malformed tree size"
    ROOT = "malformed root"
    EMPTY = "not the root of the empty tree"
    ORIGIN = "another log's checkpoint"


class CheckpointError(EvidenceError):
    """The note is signed, or could be, but is not the checkpoint wanted."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tree of `size` leaves of the log `origin` has this root (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(_LINE.fullmatch(line) for line in (self.origin, *self.extensions)):
            raise CheckpointError(CheckpointFlaw.LINES, "origin and extensions are lines that are not empty")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError(CheckpointFlaw.SIZE, str(self.size))
        if len(self.root) != HASH_BYTES:
            raise CheckpointError(CheckpointFlaw.ROOT, f"{len(self.root)} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError(CheckpointFlaw.EMPTY, self.root.hex())

    @property
    def text(self) -> str:
        """The note text."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that a key of its log signed.

    `text` is what was signed. `log` and `witnesses` are the signatures that verified, by known keys of the log and by
    known others; `unknown` are those that nobody here can judge.
    """

    checkpoint: Checkpoint
    text: str
    log: tuple[Signature, ...]
    witnesses: tuple[Signature, ...]
    unknown: tuple[Signature, ...]


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a note text. Raises CheckpointError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop():
        raise CheckpointError(CheckpointFlaw.LINES, f"{len(lines)} lines")
    origin, size, root, *extensions = lines
    try:
        leaves = strict_decimal(size)
    except ValueError:
        raise CheckpointError(CheckpointFlaw.SIZE, ascii(size[:40])) from None
    try:
        hash_ = decode_hash(root)
    except ValueError:
        raise CheckpointError(CheckpointFlaw.ROOT, ascii(root[:80])) from None
    return Checkpoint(origin, leaves, hash_, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> Note:
    """The checkpoint as a note, signed by its log. The key's name must be the origin; ValueError if it is not.

    That the checkpoint extends every one signed before is for the caller to make sure of.
    """
    if key.verifier.name != checkpoint.origin:
        raise ValueError(f"{key.verifier.name} does not sign for {checkpoint.origin}")
    return Note(checkpoint.text, (key.sign(checkpoint.text),))


def open_checkpoint(
    data: bytes, origin: str, log_keys: Sequence[VerifierKey], witness_keys: Sequence[VerifierKey] = ()
) -> SignedCheckpoint:
    """Open the note, demand a signature by a key of the log, read the checkpoint, compare the origin.

    Raises NoteError (not signed by the log, bad signature, malformed note) or CheckpointError.
    """
    if any(key.kind != TYPE_ED25519 for key in log_keys):
        raise NoteError(NoteFlaw.KEY_TYPE, "a log signs with keys of type 0x01")
    note = open_note(data, [*log_keys, *witness_keys])
    ours = {(key.name, key.key_id) for key in log_keys}
    log = tuple(signature for signature in note.verified if (signature.name, signature.key_id) in ours)
    if not log:
        raise NoteError(NoteFlaw.UNSIGNED, "only witnesses signed it, no key of the log")
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise CheckpointError(CheckpointFlaw.ORIGIN, f"{checkpoint.origin!a} where {origin!a} is expected")
    witnesses = tuple(signature for signature in note.verified if signature not in log)
    return SignedCheckpoint(checkpoint, note.text, log, witnesses, note.unknown)


def strict_decimal(text: str) -> int:
    """Decode ASCII digits without leading zeros, at most 2^63 - 1. Raises ValueError."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise ValueError("not a decimal in range")
    return int(text)


def decode_hash(line: str) -> bytes:
    """Decode the base64 of a hash. Raises ValueError unless it is the canonical one of 32 bytes."""
    found = strict_base64(line)
    if len(found) != HASH_BYTES:
        raise ValueError(f"{len(found)} bytes are no hash")
    return found
