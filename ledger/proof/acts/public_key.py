"""Public keys that sign acts, and the signatures that they verify: docs/formats/signed-acts.md, section 4."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from ledger.proof.acts.errors import ActError, ActFlaw

# SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) is this and the 32 bytes of the key.
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
ED25519_BYTES = 32
MAX_SPKI_BYTES = 1024
RSA_BITS = range(2048, 4097)
RSA_EXPONENT = 65537
_P = 2**255 - 19
# The y coordinates of the points whose order divides 8. Under such a key, one signature fits many messages.
SMALL_ORDER_Y = frozenset(
    (
        0,
        1,
        _P - 1,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    )
)


class Algorithm(IntEnum):
    """The algorithms, by their numbers in COSE (RFC 9053)."""

    ES256 = -7
    EDDSA = -8
    RS256 = -257


@dataclass(frozen=True)
class PublicKey:
    """A public key and its only algorithm. `spki` is its only encoding, and so identifies it."""

    algorithm: Algorithm
    spki: bytes
    key: EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise ActError unless `signature` is one of this key over `data`."""
        try:
            if isinstance(self.key, EllipticCurvePublicKey):
                self.key.verify(signature, data, ECDSA(SHA256()))
            elif isinstance(self.key, RSAPublicKey):
                self.key.verify(signature, data, PKCS1v15(), SHA256())
            else:
                self.key.verify(signature, data)
        except InvalidSignature:
            raise ActError(ActFlaw.INVALID, "the signature is not one of this key over this act") from None


def load_ed25519(raw: bytes) -> PublicKey:
    """Return the key of 32 bytes. Raises ActError for a point of small order, or written in another way."""
    if len(raw) != ED25519_BYTES:
        raise ActError(ActFlaw.KEY, f"an Ed25519 key has {ED25519_BYTES} bytes, this one {len(raw)}")
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= _P or y in SMALL_ORDER_Y:
        raise ActError(ActFlaw.KEY, "an Ed25519 key of small order, or not in its one encoding")
    return PublicKey(Algorithm.EDDSA, ED25519_SPKI + raw, Ed25519PublicKey.from_public_bytes(raw))


def load_spki(algorithm: object, spki: bytes) -> PublicKey:
    """Return the key in SubjectPublicKeyInfo for an algorithm of COSE.

    Raises ActError for another algorithm or kind of key, for a weak key, and for any encoding but the usual one.
    """
    if type(algorithm) is not int or algorithm not in set(Algorithm):
        raise ActError(ActFlaw.KEY, "the algorithm is none of -7, -8 and -257")
    kind = Algorithm(algorithm)
    try:
        key = load_der_public_key(spki)
        usual = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise ActError(ActFlaw.KEY, "the public key is not a SubjectPublicKeyInfo of a known kind") from None
    if usual != spki:
        raise ActError(ActFlaw.KEY, "the public key is not in the usual encoding")
    if kind is Algorithm.EDDSA and isinstance(key, Ed25519PublicKey):
        return load_ed25519(spki[len(ED25519_SPKI) :])
    if kind is Algorithm.ES256 and isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return PublicKey(kind, spki, key)
    if kind is Algorithm.RS256 and isinstance(key, RSAPublicKey):
        if key.key_size not in RSA_BITS or key.public_numbers().e != RSA_EXPONENT:
            raise ActError(ActFlaw.KEY, "an RSA key needs 2048 to 4096 bits and the exponent 65537")
        return PublicKey(kind, spki, key)
    raise ActError(ActFlaw.KEY, f"the key does not fit the algorithm {algorithm}")
