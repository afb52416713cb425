"""Make COSE receipts: an inclusion proof with the log's signature on the root, for readers of CBOR.

Source: RFC 9942 (COSE Receipts) sections 4 and 5, RFC 9052 section 4.4, RFC 8949 section 4.2; docs/formats/tlog.md
section 9. A receipt is a COSE_Sign1 with a detached payload, the root. The reader computes the root from its own
event hash and the proof, so that the signature shows the event too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.note import KEY_ID_BYTES
from ledger.tlog.signing_keys import SigningKey

# RFC 9052: tag and header parameters; EdDSA. RFC 9942: the parameters for the verifiable data structure and its
# proofs, and their values.
COSE_SIGN1 = 18
ALG, KID, VDS, VDP = 1, 4, 395, 396
EDDSA = -8
RFC9162_SHA256 = 1
INCLUSION = -1
MEDIA_TYPE = "application/cose"

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
_NULL = b"\xf6"


def make_receipt(key: SigningKey, note: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """Return the receipt of the leaf at `index`, counted from 0, in the tree of this checkpoint.

    The key signs only roots that it signed in a checkpoint before. Otherwise this raises EvidenceError.
    """
    checkpoint = open_checkpoint(note, key.verifier.name, [key.verifier]).checkpoint
    key_id = key.verifier.key_id.to_bytes(KEY_ID_BYTES, "big")
    signature = key.sign_structure(to_be_signed(key_id, checkpoint.root))
    return encode_receipt(key_id, checkpoint.size, index, path, signature)


def protected_header(key_id: bytes) -> bytes:
    """Return the bytes of the protected header: the key id, the algorithm, and the kind of tree."""
    return _map((ALG, _integer(EDDSA)), (KID, _bytes(key_id)), (VDS, _integer(RFC9162_SHA256)))


def to_be_signed(key_id: bytes, root: bytes) -> bytes:
    """Return the Sig_structure over the root (RFC 9052 section 4.4).

    No note can begin like it: its first byte is 0x84.
    """
    return _array(_text("Signature1"), _bytes(protected_header(key_id)), _bytes(b""), _bytes(root))


def encode_receipt(key_id: bytes, size: int, index: int, path: Sequence[bytes], signature: bytes) -> bytes:
    """Return the receipt of inclusion of the leaf at `index`, counted from 0, in the tree of `size` leaves."""
    proof = _array(_integer(size), _integer(index), _array(*map(_bytes, path)))
    proofs = _map((INCLUSION, _array(_bytes(proof))))
    sign1 = _array(_bytes(protected_header(key_id)), _map((VDP, proofs)), _NULL, _bytes(signature))
    return _head(_TAG, COSE_SIGN1) + sign1


def _head(major: int, number: int) -> bytes:
    """Return the shortest head of an item (RFC 8949 section 4.2.1)."""
    if number < 24:
        return bytes([major << 5 | number])
    for code, length in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << (8 * length):
            return bytes([major << 5 | code]) + number.to_bytes(length, "big")
    return bytes([major << 5 | 27]) + number.to_bytes(8, "big")


def _integer(value: int) -> bytes:
    return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)


def _bytes(value: bytes) -> bytes:
    return _head(_BYTES, len(value)) + value


def _text(value: str) -> bytes:
    data = value.encode()
    return _head(_TEXT, len(data)) + data


def _array(*items: bytes) -> bytes:
    return _head(_ARRAY, len(items)) + b"".join(items)


def _map(*members: tuple[int, bytes]) -> bytes:
    """Return a map with integer labels, in the order of their encodings."""
    encoded = sorted((_integer(label), value) for label, value in members)
    return _head(_MAP, len(encoded)) + b"".join(label + value for label, value in encoded)
