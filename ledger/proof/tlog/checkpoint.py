"""Checkpoints, and the cosignatures of witnesses on them.

Source: C2SP tlog-checkpoint and tlog-cosignature (Ed25519, type 0x04); docs/formats/tlog.md sections 5 and 6. A
malformed text or an unexpected origin raises CheckpointError, a missing or bad signature NoteError.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE
from ledger.proof.tlog.note import (
    TYPE_COSIGNATURE,
    TYPE_ED25519,
    NoteError,
    NoteFlaw,
    Signature,
    VerifierKey,
    open_note,
    strict_base64,
)

TIMESTAMP_BYTES = 8
BLOB_BYTES = TIMESTAMP_BYTES + 64

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_LINE = re.compile(r"[^\x00-\x1f\ud800-\udfff]+")


class CheckpointFlaw(StrEnum):
    """The reasons for which the text of a note is not a checkpoint, or not the expected one."""

    LINES = "not three lines or more, none empty"
    SIZE = "malformed tree size"
    ROOT = "malformed root"
    EMPTY = "not the root of the empty tree"
    ORIGIN = "another log's checkpoint"


class CheckpointError(EvidenceError):
    """The text of the note is not the expected checkpoint."""


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
        """Return the note text."""
        root = base64.b64encode(self.root).decode()
        return "".join(f"{line}\n" for line in (self.origin, self.size, root, *self.extensions))


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint that a key of its log signed.

    `text` was signed. `log` and `witnesses` are the signatures that verified, by known keys of the log and of
    witnesses; `unknown` are those by other keys.
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


def open_checkpoint(
    data: bytes, origin: str, log_keys: Sequence[VerifierKey], witness_keys: Sequence[VerifierKey] = ()
) -> SignedCheckpoint:
    """Open the note, require a signature by a key of the log, parse the checkpoint, and compare the origin.

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
    digest = strict_base64(line)
    if len(digest) != HASH_BYTES:
        raise ValueError(f"malformed hash: {len(digest)} bytes")
    return digest


class Cosignature(NamedTuple):
    """The witness and its time, in seconds since 1970 by its own clock."""

    name: str
    key_id: int
    timestamp_s: int


class WitnessKey(VerifierKey):
    """A witness's public key (type 0x04)."""

    kind: ClassVar[int] = TYPE_COSIGNATURE

    def check(self, text: bytes, blob: bytes) -> None:
        """Raise NoteError unless `blob`, time and signature, is this witness's on the checkpoint text."""
        timestamp_s = int.from_bytes(blob[:TIMESTAMP_BYTES], "big")
        if len(blob) != BLOB_BYTES or timestamp_s > MAX_SIZE:
            raise NoteError(NoteFlaw.BAD_SIGNATURE, f"{self.name}+{self.key_id:08x}: not a time and a signature")
        self._verify(blob[TIMESTAMP_BYTES:], signed_message(text, timestamp_s))


def signed_message(text: bytes, timestamp_s: int) -> bytes:
    """Return the message that a witness signs: two lines of header, then the whole text of the checkpoint."""
    return b"cosignature/v1\ntime %d\n" % timestamp_s + text


def cosignatures(verified: Sequence[Signature]) -> tuple[Cosignature, ...]:
    """Return the latest cosignature of each witness, from signatures that a WitnessKey verified."""
    latest: dict[tuple[str, int], int] = {}
    for name, key_id, blob in verified:
        timestamp_s = int.from_bytes(blob[:TIMESTAMP_BYTES], "big")
        latest[name, key_id] = max(timestamp_s, latest.get((name, key_id), 0))
    return tuple(Cosignature(name, key_id, timestamp_s) for (name, key_id), timestamp_s in latest.items())
