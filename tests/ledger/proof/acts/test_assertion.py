"""Assertions of passkeys: W3C's vectors, every refusal by its name, and signatures in other encodings."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ledger.proof.acts.assertion import Asserted, Passkey, check_assertion
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.public_key import load_ed25519, load_spki
from tests.ledger.proof.acts import w3c
from tests.ledger.proof.acts.signing import ORIGIN, RP_ID, Device, b64u

STATEMENT = b"statement"
CHALLENGE = sha256(STATEMENT).digest()
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P = 2**255 - 19


@pytest.mark.parametrize("info", w3c.PRINTED)
def test_the_recipe_gives_what_w3c_prints(info: str) -> None:
    """The vectors that are made here are those of the specification."""
    made = w3c.vector(info)
    assert (made.challenge.hex(), made.authenticator_data.hex(), made.signature.hex()) == w3c.PRINTED[info]


# What this profile says of each: a signing device must verify its user, and no page may be framed by another.
W3C: dict[str, tuple[int, ActFlaw | None]] = {
    "none.ES256": (32, ActFlaw.DEVICE),
    "none.ES256.crossOrigin": (32, ActFlaw.ORIGIN),
    "none.ES256.topOrigin": (32, ActFlaw.ORIGIN),
    "none.ES256.long-credential-id": (1023, None),
    "packed.ES256": (32, None),
    "packed.RS256": (32, ActFlaw.DEVICE),
    "packed.EdDSA": (32, ActFlaw.DEVICE),
}


@pytest.mark.parametrize(("info", "length", "expected"), [(info, *rest) for info, rest in W3C.items()])
def test_vectors_of_w3c_verify_as_the_profile_says(info: str, length: int, expected: ActFlaw | None) -> None:
    """The signature of each vector verifies; the profile refuses those that it must, by the right name."""
    made = w3c.vector(info, length)
    key = load_spki(made.alg, made.spki)
    key.verify(made.signature, made.authenticator_data + sha256(made.client_data).digest())
    passkey = Passkey(w3c.RP_ID, (w3c.ORIGIN,), made.backup_eligible)
    if expected is None:
        assert check_assertion(made.members, made.challenge, key, passkey).origin == w3c.ORIGIN
    else:
        with pytest.raises(ActError) as caught:
            check_assertion(made.members, made.challenge, key, passkey)
        assert caught.value.flaw is expected


def run(device: Device, members: dict[str, str], *origins: str, eligible: bool = False) -> Asserted:
    """Check an assertion over STATEMENT."""
    passkey = Passkey(RP_ID, origins or (ORIGIN,), eligible)
    return check_assertion(members, CHALLENGE, load_spki(device.alg, device.spki), passkey)


def flaw(device: Device, members: dict[str, str] | None = None, **rest: Any) -> ActFlaw:
    """Return why an assertion over STATEMENT is refused."""
    with pytest.raises(ActError) as caught:
        run(device, members or device.sign(STATEMENT), **rest)
    return caught.value.flaw


def test_counter_origin_and_backup_are_reported() -> None:
    """A valid assertion says its counter, its address, and whether the key is backed up."""
    device = Device(flags=0x1D, counter=7)
    assert run(device, device.sign(STATEMENT), "https://other.example", ORIGIN, eligible=True) == Asserted(
        ORIGIN, 7, backed_up=True
    )


@pytest.mark.parametrize(
    ("flags", "after", "eligible"),
    [
        (0x04, b"", False),  # nobody was present
        (0x01, b"", False),  # nobody was verified
        (0x0D, b"", False),  # can be backed up, and was registered as one that cannot
        (0x05, b"", True),
        (0x15, b"", False),  # backed up, and cannot be
        (0x45, b"", False),  # a new key
        (0x85, b"", False),  # extensions, and none there
        (0x05, b"\xa0", False),  # extensions there, and none said
    ],
)
def test_required_and_refused_flags(flags: int, after: bytes, *, eligible: bool) -> None:
    """Each flag that this profile requires or refuses."""
    assert flaw(Device(flags=flags, after=after), eligible=eligible) is ActFlaw.DEVICE


def test_extensions_are_not_read() -> None:
    """Bytes of extensions are allowed where the flag says so; their content is not parsed."""
    device = Device(flags=0x85, after=b"\xff\xff")
    run(device, device.sign(STATEMENT))


@pytest.mark.parametrize(
    "origin",
    [
        ORIGIN + ":443",
        ORIGIN + "/",
        ORIGIN.replace("https", "http"),
        ORIGIN.upper(),
        "https://evil.example",
        "null",
        None,
        [ORIGIN],
    ],
)
def test_other_origins_are_refused(origin: Any) -> None:
    """The origin is compared as text: no port or slash is added or dropped."""
    assert flaw(Device(client_members={"origin": origin})) is ActFlaw.ORIGIN


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"crossOrigin": True}, ActFlaw.ORIGIN),
        ({"crossOrigin": "false"}, ActFlaw.ORIGIN),
        ({"crossOrigin": 0}, ActFlaw.ORIGIN),
        ({"topOrigin": ORIGIN}, ActFlaw.ORIGIN),
        ({"type": "webauthn.create"}, ActFlaw.CHALLENGE),
        ({"type": "payment.get"}, ActFlaw.CHALLENGE),
        ({"challenge": b64u(CHALLENGE) + "="}, ActFlaw.CHALLENGE),
        ({"challenge": b64u(b"other")}, ActFlaw.CHALLENGE),
        ({"challenge": None}, ActFlaw.CHALLENGE),
    ],
)
def test_each_member_of_client_data_is_checked(members: dict[str, Any], expected: ActFlaw) -> None:
    """Each member of client_data that is checked, by its name."""
    assert flaw(Device(client_members=members)) is expected


def test_unknown_members_are_ignored() -> None:
    """Browsers add members on purpose."""
    device = Device(client_members={"other_keys_can_be_added_here": "do not compare clientDataJSON with a template"})
    run(device, device.sign(STATEMENT))


def test_a_missing_cross_origin_is_false() -> None:
    """Old browsers leave the member out."""
    device = Device()
    members = {"type": "webauthn.get", "challenge": b64u(CHALLENGE), "origin": ORIGIN}
    run(device, device.assert_with(json.dumps(members).encode()))


@pytest.mark.parametrize(
    "client_data",
    [
        b"",
        b"[]",
        b"null",
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b"{} {}",
        b"[" * 4000,
        b'{"type":"webauthn.get","type":"webauthn.get"}',
        b'{"a":{"b":1,"b":1}}',
        b"1" * 4000,
    ],
    ids=range(11),
)
def test_malformed_client_data(client_data: bytes) -> None:
    """What is not one JSON object in UTF-8, or has a member twice at any depth, is refused by its name."""
    device = Device()
    assert flaw(device, device.assert_with(client_data)) is ActFlaw.ENCODING


def test_members_of_odd_lengths_are_refused() -> None:
    """Members that are too short or too long are refused before they are parsed."""
    device = Device()
    good = device.sign(STATEMENT)
    for name, value in (
        ("authenticator_data", bytes(36)),
        ("authenticator_data", bytes(1025)),
        ("client_data", b" " * 4097),
        ("signature", bytes(1025)),
    ):
        assert flaw(device, good | {name: b64u(value)}) is ActFlaw.ENCODING


def test_another_rp_id() -> None:
    """An assertion for another relying party is refused, also with the right origin."""
    assert flaw(Device(rp_id="example")) is ActFlaw.ORIGIN


def der(*parts: bytes) -> bytes:
    """Return an ASN.1 sequence of parts that are encoded already."""
    content = b"".join(parts)
    return bytes([0x30, len(content)]) + content


def integer(value: int, pad: bytes = b"") -> bytes:
    """Return an ASN.1 integer, with bytes too many before it."""
    raw = pad + value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(raw)]) + raw


def test_signatures_in_other_encodings() -> None:
    """ECDSA takes n - s as well as s, which this format allows. It takes no other spelling, and no other numbers."""
    device = Device()
    good = device.sign(STATEMENT)
    data = device.authenticator_data() + sha256(_client_data(good)).digest()
    signature = device.raw_sign(data)
    r, s = decode_dss_signature(signature)
    key = load_spki(-7, device.spki)
    for each in (encode_dss_signature(r, s), encode_dss_signature(r, P256_ORDER - s), der(integer(r), integer(s))):
        key.verify(each, data)
    long_form = bytes([0x30, 0x81, len(signature) - 2]) + signature[2:]
    indefinite = b"\x30\x80" + signature[2:] + b"\0\0"
    negative = bytes([0x02, 0x20]) + (r | 1 << 255).to_bytes(32, "big")
    for odd in (
        b"",
        signature + b"\0",
        signature[:-1],
        long_form,
        indefinite,
        der(integer(r, b"\0"), integer(s)),
        der(integer(r), integer(s, b"\0\0")),
        der(negative, integer(s)),
        der(integer(r), integer(s), integer(1)),
        der(integer(r)),
        r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        encode_dss_signature(r + P256_ORDER, s),
        encode_dss_signature(r, s + P256_ORDER),
        encode_dss_signature(0, s),
        encode_dss_signature(r, 0),
        encode_dss_signature(0, 0),
        encode_dss_signature(r, P256_ORDER),
    ):
        with pytest.raises(ActError) as caught:
            key.verify(odd, data)
        assert caught.value.flaw is ActFlaw.INVALID


def _client_data(members: dict[str, str]) -> bytes:
    return base64.urlsafe_b64decode(members["client_data"] + "==")


def test_ed25519_signatures_are_unique() -> None:
    """S + L, which some implementations take, is refused, and so is a signature of another length."""
    private = ed25519.Ed25519PrivateKey.generate()
    key = load_ed25519(private.public_key().public_bytes_raw())
    signature = private.sign(STATEMENT)
    key.verify(signature, STATEMENT)
    order = 2**252 + 27742317777372353535851937790883648493
    other = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    for odd in (other, signature[:-1], signature + b"\0", bytes(64)):
        with pytest.raises(ActError):
            key.verify(odd, STATEMENT)


def test_ed25519_keys_of_small_order_are_refused() -> None:
    """Points whose order divides 8, in each encoding, and y beyond the field."""
    d = -121665 * pow(121666, -1, P) % P
    found = 0
    for y in (0, 1, P - 1, P, P + 1, 2**255 - 1, *_order_8(d)):
        for sign in (0, 1 << 255):
            with pytest.raises(ActError, match="small order"):
                load_ed25519((y | sign).to_bytes(32, "little"))
            found += 1
    assert found == 16


def _order_8(d: int) -> list[int]:
    """Return y of the points of order 8, from the curve's equation: doubled, they have y = 0."""
    root = pow(2, (P - 1) // 4, P)
    found = []
    # With y² = -x² the curve is 2y² = 1 - d·y⁴, so d·t² + 2t - 1 = 0 for t = y².
    disc = (1 + d) % P
    square = pow(disc, (P + 3) // 8, P)
    square = square if square * square % P == disc else square * root % P
    assert square * square % P == disc
    for sign in (1, -1):
        t = (-1 + sign * square) * pow(d, -1, P) % P
        y = pow(t, (P + 3) // 8, P)
        y = y if y * y % P == t else y * root % P
        if y * y % P == t:
            found += [y, P - y]
    assert len(found) == 2
    return found


def test_other_keys_are_refused() -> None:
    """Only P-256, Ed25519 and RSA of 2,048 bits or more with the usual exponent, in the usual encoding."""

    def spki(key: Any) -> bytes:
        encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return encoded

    p256, curve = Device(), Encoding.X962
    compressed = p256.private.public_key().public_bytes(curve, PublicFormat.CompressedPoint)
    odd_point = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200") + compressed
    for alg, key in (
        (-7, spki(ec.generate_private_key(ec.SECP384R1()))),
        (-7, spki(ed25519.Ed25519PrivateKey.generate())),
        (-8, p256.spki),
        (-257, p256.spki),
        (-257, spki(rsa.generate_private_key(65537, 1024))),  # noqa: S505 (to be refused)
        (-257, spki(rsa.generate_private_key(3, 2048))),
        (-7, odd_point),
        (-7, p256.spki + b"\0"),
        (-7, p256.spki[:-1]),
        (-7, b""),
        (-35, p256.spki),
        (-50, p256.spki),
        (True, p256.spki),
        ("-7", p256.spki),
    ):
        with pytest.raises(ActError) as caught:
            load_spki(alg, key)
        assert caught.value.flaw is ActFlaw.KEY
