"""Keys of tests that sign acts: a key file, and a device with passkeys. None uses the code that verifies."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ledger.proof.chains import ORIGIN as ORIGIN_OF_CHAINS

LEDGER = ORIGIN_OF_CHAINS
PREPARED = "2026-07-01T12:00:00Z"
PREPARED_US = 1_782_907_200_000_000
RP_ID, ORIGIN = "ledger.example", "https://console.ledger.example"
DECISION_COVERS = ["digest", "outcome", "reason_code", "recommendation_id"]

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def b64u(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class FileKey:
    """A key in a file."""

    private: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)

    scheme: str = "ed25519"

    def sign(self, statement: bytes) -> dict[str, str]:
        """Return the members that the scheme adds to a signature."""
        return {"signature": b64u(self.private.sign(b"advice-ledger/act/v1\n" + statement))}

    def data(self) -> dict[str, Any]:
        """Return the members of a registration that describe the key."""
        return {
            "scheme": "ed25519",
            "purpose": "sign",
            "public_key": b64u(self.private.public_key().public_bytes_raw()),
        }


@dataclass
class Device:
    """A passkey. `flags`, `origin` and `client_members` are what the browser and the device say of an assertion."""

    private: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    flags: int = 0x05
    counter: int = 0
    rp_id: str = RP_ID
    origin: str = ORIGIN
    client_members: dict[str, Any] = field(default_factory=dict)
    after: bytes = b""

    scheme: str = "webauthn"

    @property
    def spki(self) -> bytes:
        """The public key as browsers give it."""
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def alg(self) -> int:
        """The algorithm's number in COSE."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return -7
        return -8 if isinstance(self.private, ed25519.Ed25519PrivateKey) else -257

    def raw_sign(self, data: bytes) -> bytes:
        """Sign bytes with the key."""
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            return self.private.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), SHA256())
        return self.private.sign(data)

    def authenticator_data(self) -> bytes:
        """Return what the device says of itself."""
        return sha256(self.rp_id.encode()).digest() + bytes([self.flags]) + self.counter.to_bytes(4, "big") + self.after

    def sign(self, statement: bytes) -> dict[str, str]:
        """Return the members that the scheme adds to a signature."""
        challenge = b64u(sha256(statement).digest())
        members = {"type": "webauthn.get", "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return self.assert_with(json.dumps(members | self.client_members).encode())

    def assert_with(self, client_data: bytes) -> dict[str, str]:
        """Return an assertion over these client data."""
        data = self.authenticator_data()
        signature = self.raw_sign(data + sha256(client_data).digest())
        return {"authenticator_data": b64u(data), "client_data": b64u(client_data), "signature": b64u(signature)}

    def data(self) -> dict[str, Any]:
        """Return the members of a registration that describe the key."""
        return {
            "scheme": "webauthn",
            "purpose": "sign",
            "public_key": b64u(self.spki),
            "alg": self.alg,
            "rp_id": self.rp_id,
            "origins": [ORIGIN],
            "credential_id": b64u(b"credential"),
            "backup_eligible": bool(self.flags & 0x08),
        }


class Signer(Protocol):
    """A key that signs statements."""

    scheme: str

    def sign(self, statement: bytes) -> dict[str, str]:
        """Return the members that the scheme adds to a signature."""

    def data(self) -> dict[str, Any]:
        """Return the members of a registration that describe the key."""


def registration(
    key: Signer, subject: str, credential: int = 2, ledger: str = LEDGER, prepared: str = PREPARED, **changes: Any
) -> dict[str, Any]:
    """Return the body of a registration with its proof."""
    data = {**key.data(), **changes}
    statement = rfc8785.dumps(
        {
            "data": data,
            "ledger": ledger,
            "prepared_at": prepared,
            "schema": 1,
            "subject": subject,
            "type": "signing-key.registered",
        }
    )
    proof = {"prepared_at": prepared, **key.sign(statement)}
    return {
        "actor": {"id": subject, "kind": "human", "role": "advisor"},
        "data": {**data, "credential": credential, "proof": proof},
        "id": "0197f3c2-8a00-7000-8000-000000000001",
        "schema": 1,
        "stream": f"subject-{subject}",
        "type": "signing-key.registered",
    }


def revocation(subject: str, credential: int = 2) -> dict[str, Any]:
    """Return the body of a revocation."""
    return {
        "actor": {"id": "admin", "kind": "human", "role": "administrator"},
        "data": {"credential": credential},
        "id": "0197f3c2-8a00-7000-8000-000000000002",
        "schema": 1,
        "stream": f"subject-{subject}",
        "type": "credential.revoked",
    }


def decision(subject: str = "ada", **changes: Any) -> dict[str, Any]:
    """Return the body of an unsigned decision."""
    body = {
        "actor": {"id": subject, "kind": "human", "role": "advisor"},
        "data": {
            "digest": "ab" * 32,
            "outcome": "reject",
            "reason_code": "wrong-data",
            "recommendation_id": 17,
            "needs_second": False,
            "second_rules": [],
            "four_eyes_version": "1",
        },
        "id": "0197f3c2-8a00-7000-8000-000000000017",
        "schema": 1,
        "sealed": {"rationale": "cd" * 32},
        "stream": "request-3",
        "type": "recommendation.decided",
    }
    return body | changes


def signed(
    body: dict[str, Any], key: Signer, credential: int = 2, ledger: str = LEDGER, prepared: str = PREPARED
) -> dict[str, Any]:
    """Return a decision with its signature."""
    data = {name: body["data"][name] for name in DECISION_COVERS if name in body["data"]}
    statement = rfc8785.dumps(
        {
            "actor": body["actor"]["id"],
            "data": data,
            "id": body["id"],
            "ledger": ledger,
            "prepared_at": prepared,
            "schema": 1,
            "sealed": body.get("sealed", {}),
            "type": body["type"],
        }
    )
    signature = {
        "covers": DECISION_COVERS,
        "key": credential,
        "prepared_at": prepared,
        "scheme": key.scheme,
        **key.sign(statement),
    }
    return body | {"signature": signature}
