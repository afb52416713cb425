"""Shared by the makers of vectors: the keys, and the form of a vector."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.ledger.proof.chains import ORIGIN

Vector = dict[str, Any]

LOG = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
OTHER_LOG = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32))
ELSEWHERE = SigningKey("elsewhere.example/log", Ed25519PrivateKey.from_private_bytes(bytes([4]) * 32))
WITNESS = WitnessSigningKey("witness.example/w1", Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32))
TIME_S = 1_767_225_600
FLIP = 7


def vector(name: str, flaw: str | None = None, /, **members: Any) -> Vector:
    """One vector; bytes as hex. `flaw` None: it is good."""
    return {"name": name, "flaw": flaw, **{key: plain(value) for key, value in members.items()}}


def plain(value: Any) -> Any:
    """Bytes as hex, also in lists."""
    if isinstance(value, bytes):
        return value.hex()
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def flipped(data: bytes) -> bytes:
    """One bit changed."""
    return data[:FLIP] + bytes([data[FLIP] ^ 1]) + data[FLIP + 1 :]
