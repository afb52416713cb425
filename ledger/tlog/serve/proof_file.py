"""Write a tlog-proof file: docs/formats/tlog.md section 8. ledger/proof/tlog/tlog_proof.py reads and verifies it."""

from __future__ import annotations

import base64

from ledger.proof.tlog.merkle import HASH_BYTES, MAX_PATH, MAX_SIZE
from ledger.proof.tlog.tlog_proof import HEADER, MAX_EXTRA_BYTES, TlogProof, TlogProofError, TlogProofFlaw, check_length


def encode_proof(proof: TlogProof) -> bytes:
    """Return the file. Raises TlogProofError for values that `parse_proof` would refuse."""
    # Check the values, because parsing the written file again would take longer than writing it.
    if len(proof.extra) > MAX_EXTRA_BYTES:
        raise TlogProofError(TlogProofFlaw.EXTRA, f"{len(proof.extra)} bytes")
    if not 0 <= proof.index <= MAX_SIZE:
        raise TlogProofError(TlogProofFlaw.INDEX, str(proof.index))
    if len(proof.path) > MAX_PATH or any(len(element) != HASH_BYTES for element in proof.path):
        raise TlogProofError(TlogProofFlaw.PATH, f"not at most {MAX_PATH} hashes of {HASH_BYTES} bytes")
    lines = [HEADER]
    if proof.extra:
        lines.append(f"extra {base64.b64encode(proof.extra).decode()}")
    lines.append(f"index {proof.index}")
    lines.extend(base64.b64encode(element).decode() for element in proof.path)
    data = "\n".join(lines).encode() + b"\n\n" + proof.checkpoint
    check_length(data)
    return data
