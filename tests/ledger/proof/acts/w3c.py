"""The test vectors of W3C's Web Authentication level 3, section 16 (https://www.w3.org/TR/webauthn-3/#sctn-test-vectors).

Section 16 derives all random values by HKDF-SHA-256 from one text, and signs deterministically. So the vectors are made
here by that recipe. PRINTED are values as the section prints them; a test compares both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.ledger.proof.acts.signing import PrivateKey, b64u

SEED = b"WebAuthn test vectors"
RP_ID, ORIGIN = "example.org", "https://example.org"
EXTRA = "clientDataJSON may be extended with additional fields in the future, such as this: "
# Challenge, authenticator data and signature of the assertions in sections 16.2, 16.4 and 16.5.
PRINTED = {
    "none.ES256": (
        "39c0e7521417ba54d43e8dc95174f423dee9bf3cd804ff6d65c857c9abf4d408",
        "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b51900000000",
        (
            "3046022100f50a4e2e4409249c4a853ba361282f09841df4dd4547a13a87780218deffcd380221008480ac0f0b93538174f575bf11a1dd"
            "5d78c6e486013f937295ea13653e331e87"
        ),
    ),
    "none.ES256.crossOrigin": (
        "876aa517ba83fdee65fcffdbca4c84eeae5d54f8041a1fc85c991e5bbb273137",
        "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b50500000000",
        (
            "3046022100eb12fcf23b12764c0f122e22371fab92e283879fd798f38ee1841c951b6e40e7022100c76237ff9db77b3c56f30837cda6a0"
            "9acfa2e915544e609c0733b1184036d1cf"
        ),
    ),
    "none.ES256.topOrigin": (
        "d54a5c8ca4b62a8e3bb321e3b2bc73856f85a10150db2939ac195739eb1ea066",
        "bfabc37432958b063360d3ad6461c9c4735ae7f8edd46592a5e0f01452b2e4b50500000000",
        (
            "3045022100b5a70c81780d5fcc9a4f2ae9caae99058f8accaf58b91fb59329646c28ac6ffc022012e101c165db3c8e9957f0c54dd6ca9b"
            "56bc3bd2f280bd2faa6c1d02c6e5c171"
        ),
    ),
}


@dataclass(frozen=True)
class Vector:
    """One assertion, and the key that made it."""

    alg: int
    spki: bytes
    challenge: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes
    backup_eligible: bool

    @property
    def members(self) -> dict[str, str]:
        """The members of a signature with this assertion."""
        return {
            "authenticator_data": b64u(self.authenticator_data),
            "client_data": b64u(self.client_data),
            "signature": b64u(self.signature),
        }


class _Values:
    """The pseudo-random values of one vector, in order."""

    def __init__(self, info: str) -> None:
        self._info = info.encode()
        self._salts: Iterator[int] = iter(range(256))

    def next(self, length: int) -> bytes:
        """Return the next value."""
        return HKDF(SHA256(), length, bytes([next(self._salts)]), self._info).derive(SEED)


def vector(info: str, credential_id: int = 32) -> Vector:
    """Make the vector that the section derives with this `info`."""
    values = _Values(info)
    values.next(32)  # the challenge of the registration
    alg, private = _private(info, values)
    _client_data(values, info, b"", "webauthn.create")
    values.next(16)  # aaguid
    values.next(credential_id)
    eligible = values.next(1)[0] & 0x08
    if info.startswith("packed."):  # key and serial number of the attestation
        values.next(32)
        values.next(16)
    challenge = values.next(32)
    client_data = _client_data(values, info, challenge, "webauthn.get")
    flags = values.next(1)[0] & (0x14 if eligible else 0x04) | eligible | 0x01
    data = sha256(RP_ID.encode()).digest() + bytes([flags]) + bytes(4)
    signature = _sign(private, data + sha256(client_data).digest())
    spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Vector(alg, spki, challenge, data, client_data, signature, bool(eligible))


def _private(info: str, values: _Values) -> tuple[int, PrivateKey]:
    if info.endswith("RS256"):
        p, q = 2**1279 - 1, 2**2203 - 1
        d = rsa.rsa_recover_private_exponent(65537, p, q)
        public = rsa.RSAPublicNumbers(65537, p * q)
        crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
        return -257, rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()
    if info.endswith("EdDSA"):
        return -8, ed25519.Ed25519PrivateKey.from_private_bytes(values.next(32))
    return -7, ec.derive_private_key(int.from_bytes(values.next(32)), ec.SECP256R1())


def _client_data(values: _Values, info: str, challenge: bytes, kind: str) -> bytes:
    top = info.endswith("topOrigin")
    members: dict[str, object] = {"type": kind, "challenge": b64u(challenge), "origin": ORIGIN}
    members["crossOrigin"] = top or info.endswith("crossOrigin")
    extra = {"extraData": EXTRA + b64u(values.next(16))} if values.next(1)[0] & 0x01 else {}
    members |= ({"topOrigin": "https://example.com"} if top else {}) | extra
    return json.dumps(members, separators=(",", ":")).encode()


def _sign(private: PrivateKey, data: bytes) -> bytes:
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return private.sign(data, ec.ECDSA(SHA256(), deterministic_signing=True))
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, padding.PKCS1v15(), SHA256())
    return private.sign(data)
