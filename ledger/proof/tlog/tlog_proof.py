"""Read and verify a tlog-proof file: a text that shows offline that one event is in the log.

Source: C2SP tlog-proof; docs/formats/tlog.md section 8. A malformed file raises TlogProofError; verification also
raises NoteError, CheckpointError and ProofError. All are EvidenceError.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import SignedCheckpoint, decode_hash, open_checkpoint, strict_decimal
from ledger.proof.tlog.merkle import MAX_PATH, check_inclusion
from ledger.proof.tlog.note import MAX_NOTE_BYTES, VerifierKey, strict_base64

HEADER = "c2sp.org/tlog-proof@v1"
MAX_EXTRA_BYTES = 64 * 1024
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 96 * 1024  # a note, the longest path, the base64 of the longest extra


class TlogProofFlaw(StrEnum):
    """The reasons for which a tlog-proof file is refused before anything is verified."""

    TOO_LARGE = "proof file too large"
    STRUCTURE = "not lines, an empty line and a checkpoint"
    HEADER = "not a tlog-proof v1"
    EXTRA = "malformed extra"
    INDEX = "malformed index"
    PATH = "malformed inclusion proof"


class TlogProofError(EvidenceError):
    """The file is not a tlog-proof."""


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Index of the entry (position - 1), its inclusion proof, and the signed checkpoint it leads to, verbatim.

    `extra` is signed by nobody: never trust it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes = b""


def parse_proof(data: bytes) -> TlogProof:
    """Read a tlog-proof file without verifying it; its checkpoint is not opened. Raises TlogProofError."""
    check_length(data)
    head, separator, checkpoint = data.partition(b"\n\n")
    if not separator or not head.isascii():
        raise TlogProofError(TlogProofFlaw.STRUCTURE, "no empty line after lines of ASCII")
    header, *lines = head.decode().split("\n")
    if header != HEADER:
        raise TlogProofError(TlogProofFlaw.HEADER, ascii(header[:80]))
    extra = _extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else b""
    index = _index(lines.pop(0) if lines else "")
    return TlogProof(index, _path(lines), checkpoint, extra)


def verify_proof(
    proof: TlogProof,
    leaf: bytes,
    origin: str,
    log_keys: Sequence[VerifierKey],
    witness_keys: Sequence[VerifierKey] = (),
) -> SignedCheckpoint:
    """Verify that the log `origin` has the leaf hash `leaf` at the proof's index; return the proving checkpoint.

    The leaf hash comes from the event the reader holds, never from the proof; the keys come from the reader too. How
    many witnesses are enough is the caller's policy. Raises EvidenceError.
    """
    # 1. A key of the log signed the checkpoint; every known witness's cosignature on it verifies.
    signed = open_checkpoint(proof.checkpoint, origin, log_keys, witness_keys)
    # 2. The leaf leads to the root that was signed.
    check_inclusion(leaf, proof.index, signed.checkpoint.size, proof.path, signed.checkpoint.root)
    return signed


def check_length(data: bytes) -> None:
    """Raise TlogProofError for a file that is too large."""
    if len(data) > MAX_PROOF_BYTES:
        raise TlogProofError(TlogProofFlaw.TOO_LARGE, f"{len(data)} bytes")


def _extra(line: str) -> bytes:
    try:
        extra = strict_base64(line.removeprefix("extra "))
    except ValueError:
        raise TlogProofError(TlogProofFlaw.EXTRA, "not base64") from None
    if not 0 < len(extra) <= MAX_EXTRA_BYTES:
        raise TlogProofError(TlogProofFlaw.EXTRA, f"{len(extra)} bytes")
    return extra


def _index(line: str) -> int:
    keyword, _, number = line.partition(" ")
    try:
        index = strict_decimal(number)
    except ValueError:
        index = -1
    if keyword != "index" or index < 0:
        raise TlogProofError(TlogProofFlaw.INDEX, ascii(line[:40]))
    return index


def _path(lines: Sequence[str]) -> tuple[bytes, ...]:
    if len(lines) > MAX_PATH:
        raise TlogProofError(TlogProofFlaw.PATH, f"more than {MAX_PATH} hashes")
    try:
        return tuple(decode_hash(line) for line in lines)
    except ValueError as error:
        raise TlogProofError(TlogProofFlaw.PATH, str(error)) from None
