"""Cosignatures: a witness states when it saw a checkpoint extend all it had seen before; and how it is asked to.

Source: C2SP tlog-cosignature (Ed25519, type 0x04) and tlog-witness; docs/formats/tlog.md sections 6 and 7. A bad
signature raises NoteError, a malformed request RequestError; both are EvidenceError.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import decode_hash, parse_checkpoint, strict_decimal
from ledger.proof.tlog.merkle import MAX_PATH, MAX_SIZE
from ledger.proof.tlog.note import MAX_NOTE_BYTES, NoteError, NoteFlaw, PrivateKey, Signature, VerifierKey

TYPE_COSIGNATURE = 0x04
TIMESTAMP_BYTES = 8
BLOB_BYTES = TIMESTAMP_BYTES + 64
MAX_REQUEST_BYTES = 4096 + MAX_NOTE_BYTES


class Cosignature(NamedTuple):
    """Who cosigned, and when: seconds since 1970, by the witness's clock."""

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


class WitnessSigningKey(PrivateKey):
    """A witness's private key."""

    verifier_class: ClassVar[type[VerifierKey]] = WitnessKey

    def cosign(self, text: str, timestamp_s: int) -> Signature:
        """The cosignature on the text of a checkpoint. Raises CheckpointError if it is none.

        That it extends the largest tree this witness has seen of the log is for the caller to make sure of.
        """
        if not 0 < timestamp_s <= MAX_SIZE:
            raise ValueError(f"{timestamp_s} is no time to sign at")
        parse_checkpoint(text)
        signature = self._private.sign(signed_message(text.encode(), timestamp_s))
        return self._signature(timestamp_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)


def signed_message(text: bytes, timestamp_s: int) -> bytes:
    """What a witness signs: two lines of header, then the whole text of the checkpoint."""
    return b"cosignature/v1\ntime %d\n" % timestamp_s + text


def cosignatures(verified: Sequence[Signature]) -> tuple[Cosignature, ...]:
    """Who cosigned when, from signatures that verified with a WitnessKey. The latest one of each witness."""
    latest: dict[tuple[str, int], int] = {}
    for name, key_id, blob in verified:
        timestamp_s = int.from_bytes(blob[:TIMESTAMP_BYTES], "big")
        latest[name, key_id] = max(timestamp_s, latest.get((name, key_id), 0))
    return tuple(Cosignature(name, key_id, timestamp_s) for (name, key_id), timestamp_s in latest.items())


class RequestFlaw(StrEnum):
    """Why the body of add-checkpoint is refused."""

    TOO_LARGE = "request too large"
    STRUCTURE = "not lines, an empty line and a checkpoint"
    OLD_SIZE = "malformed old size"
    PROOF = "malformed consistency proof"


class RequestError(EvidenceError):
    """The body of add-checkpoint is malformed."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """The body of add-checkpoint: the size the witness cosigned last, the proof from there, the signed checkpoint."""

    old_size: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def encode(self) -> bytes:
        """The body. Raises RequestError for one that `parse_request` would not give back."""
        lines = [f"old {self.old_size}", *(base64.b64encode(found).decode() for found in self.proof)]
        data = "\n".join(lines).encode() + b"\n\n" + self.checkpoint
        if parse_request(data) != self:
            raise RequestError(RequestFlaw.STRUCTURE, "the request does not survive encoding")
        return data


def parse_request(data: bytes) -> AddCheckpoint:
    """Read the body of add-checkpoint. The checkpoint in it is not opened. Raises RequestError."""
    if len(data) > MAX_REQUEST_BYTES:
        raise RequestError(RequestFlaw.TOO_LARGE, f"{len(data)} bytes")
    head, separator, checkpoint = data.partition(b"\n\n")
    if not separator or not head.isascii():
        raise RequestError(RequestFlaw.STRUCTURE, "no empty line after lines of ASCII")
    old, *lines = head.decode().split("\n")
    keyword, _, number = old.partition(" ")
    try:
        old_size = strict_decimal(number)
    except ValueError:
        old_size = -1
    if keyword != "old" or old_size < 0:
        raise RequestError(RequestFlaw.OLD_SIZE, ascii(old[:40]))
    try:
        proof = tuple(decode_hash(line) for line in lines[: MAX_PATH + 1])
    except ValueError as error:
        raise RequestError(RequestFlaw.PROOF, str(error)) from None
    if len(proof) > MAX_PATH:
        raise RequestError(RequestFlaw.PROOF, f"more than {MAX_PATH} hashes")
    return AddCheckpoint(old_size, proof, checkpoint)
