"""Private keys of a log and of a witness, and what is signed with them. The checks are in ledger/proof/tlog.

Source: C2SP signed-note and tlog-cosignature; docs/formats/tlog.md sections 4 to 6. No message shows a private key.
"""

from __future__ import annotations

from typing import ClassVar, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.proof.tlog.checkpoint import TIMESTAMP_BYTES, Checkpoint, WitnessKey, parse_checkpoint, signed_message
from ledger.proof.tlog.key_rotation import Rotation, check_rotation, statement
from ledger.proof.tlog.merkle import MAX_SIZE
from ledger.proof.tlog.note import Note, NoteError, NoteFlaw, Signature, VerifierKey, decode_key, encode_key

# RFC 9052 section 4.4: an array of four, of which the first is the text "Signature1".
SIG_STRUCTURE = b"\x84\x6aSignature1"
_SIGNER_PREFIX = "PRIVATE+KEY+"


class PrivateKey:
    """A named Ed25519 private key of one signature type. Only `reveal` shows it."""

    verifier_class: ClassVar[type[VerifierKey]] = VerifierKey

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self.verifier = self.verifier_class(name, private.public_key().public_bytes_raw())
        self._private = private

    @classmethod
    def generate(cls, name: str) -> Self:
        """Return a new key, from the system's randomness."""
        return cls(name, Ed25519PrivateKey.generate())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PRIVATE+KEY+name+id+base64`, as `reveal` writes it. Raises NoteError, which never shows the text."""
        if not text.startswith(_SIGNER_PREFIX):
            raise NoteError(NoteFlaw.KEY, "a signer key begins with PRIVATE+KEY+")
        name, stated, seed = decode_key(text.removeprefix(_SIGNER_PREFIX), cls.verifier_class.kind)
        key = cls(name, Ed25519PrivateKey.from_private_bytes(seed))
        key.verifier.expect_id(stated)
        return key

    def reveal(self) -> str:
        """Return the key in the form that `parse` reads. Everybody who sees it can sign."""
        return _SIGNER_PREFIX + encode_key(self.verifier, self._private.private_bytes_raw())

    def _signature(self, blob: bytes) -> Signature:
        return Signature(self.verifier.name, self.verifier.key_id, blob)


class SigningKey(PrivateKey):
    """A key that signs the text itself (type 0x01): a log's."""

    def sign(self, text: str) -> Signature:
        """Return the signature on a note text."""
        return self._signature(self._private.sign(text.encode()))

    def sign_structure(self, structure: bytes) -> bytes:
        """Return the signature on a COSE Sig_structure, 64 bytes.

        Its first byte, 0x84, begins no text that this key signs.
        """
        if not structure.startswith(SIG_STRUCTURE):
            raise ValueError("not a COSE Sig_structure of one signer")
        return self._private.sign(structure)


class RecordingKey(PrivateKey):
    """A key that attests what a process records (docs/formats/recording.md). It signs no checkpoint."""

    def attest(self, statement: bytes) -> bytes:
        """Return the signature on a statement, 64 bytes."""
        return self._private.sign(statement)


class WitnessSigningKey(PrivateKey):
    """A witness's private key."""

    verifier_class: ClassVar[type[VerifierKey]] = WitnessKey

    def cosign(self, text: str, timestamp_s: int) -> Signature:
        """Return the cosignature on the text of a checkpoint. Raises CheckpointError for another text.

        The caller makes sure that the checkpoint extends the largest tree of the log that this witness has seen.
        """
        if not 0 < timestamp_s <= MAX_SIZE:
            raise ValueError(f"{timestamp_s} is not a time to sign at")
        parse_checkpoint(text)
        signature = self._private.sign(signed_message(text.encode(), timestamp_s))
        return self._signature(timestamp_s.to_bytes(TIMESTAMP_BYTES, "big") + signature)


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> Note:
    """Return the checkpoint as a note signed by its log. Raises ValueError if the key's name is not the origin.

    The caller makes sure that the checkpoint extends every one signed before.
    """
    if key.verifier.name != checkpoint.origin:
        raise ValueError(f"{key.verifier.name} does not sign for {checkpoint.origin}")
    return Note(checkpoint.text, (key.sign(checkpoint.text),))


def sign_rotation(old: SigningKey, new: SigningKey) -> Rotation:
    """Return the note with both signatures, after a check.

    Raises EvidenceError if these are not two keys of one log.
    """
    text = statement(old.verifier, new.verifier)
    return check_rotation(Note(text, (old.sign(text), new.sign(text))).encode(), old.verifier.name)
