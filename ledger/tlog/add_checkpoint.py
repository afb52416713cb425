"""The body of add-checkpoint, with which a log asks a witness for a cosignature.

Source: C2SP tlog-witness; docs/formats/tlog.md section 7. A malformed body raises RequestError.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import decode_hash, strict_decimal
from ledger.proof.tlog.merkle import MAX_PATH
from ledger.proof.tlog.note import MAX_NOTE_BYTES

MAX_REQUEST_BYTES = 4096 + MAX_NOTE_BYTES


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
        """The body. Raises RequestError if `parse_request` would not return this request."""
        lines = [f"old {self.old_size}", *(base64.b64encode(element).decode() for element in self.proof)]
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
