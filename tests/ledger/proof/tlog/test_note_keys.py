"""ledger/proof/tlog/note.py: the texts of keys. Only the one spelling of a sound key is read."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.tlog.checkpoint import WitnessKey
from ledger.proof.tlog.note import NoteError, NoteFlaw, VerifierKey, strict_base64, valid_name
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.ledger.proof.mutation import flaw_of
from tests.ledger.proof.tlog.test_note import ENOCH_KEY, PETER_KEY, PETER_SIGNER, SPEC_KEY

# transparency-dev/formats note/note_cosigv1_test.go (BSD-3-Clause); the base64 of both holds no or one more plus.
PLUS_KEY = "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6"
REMORA_KEY = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"


def spell(name: str, kind: int, material: bytes) -> str:
    """The text of a key with its right key id, however wrong the rest is."""
    key_id = sha256(name.encode() + b"\n" + bytes([kind]) + material).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(bytes([kind]) + material).decode()}"


@pytest.mark.parametrize("text", [PETER_KEY, ENOCH_KEY, SPEC_KEY, PLUS_KEY])
def test_verifier_keys_of_others(text: str) -> None:
    """A key is read and written back the same."""
    assert VerifierKey.parse(text).text == text


def test_a_key_is_of_one_type() -> None:
    """A log's key is not read as a witness's, nor the other way round, public or private."""
    assert WitnessKey.parse(REMORA_KEY).text == REMORA_KEY
    assert flaw_of(VerifierKey.parse, REMORA_KEY) is NoteFlaw.KEY_TYPE
    assert flaw_of(WitnessKey.parse, PETER_KEY) is NoteFlaw.KEY_TYPE
    witness = WitnessSigningKey.generate("witness.example/w1")
    assert WitnessSigningKey.parse(witness.reveal()).verifier == WitnessKey.parse(witness.verifier.text)
    assert flaw_of(SigningKey.parse, witness.reveal()) is NoteFlaw.KEY_TYPE
    assert flaw_of(WitnessSigningKey.parse, PETER_SIGNER) is NoteFlaw.KEY_TYPE


def manglings(text: str) -> Iterator[str]:
    """Each proper part of a text, and each with one character changed, doubled or in the other case."""
    for lo in range(len(text)):
        yield from (text[lo:hi] for hi in range(lo, len(text) + 1) if hi - lo < len(text))
        yield text[:lo] + chr(ord(text[lo]) + 1) + text[lo + 1 :]
        yield text[:lo] + text[lo] + text[lo:]
        if (swapped := text[lo].swapcase()) != text[lo]:
            yield text[:lo] + swapped + text[lo + 1 :]


def test_a_mangled_key_is_not_read() -> None:
    """No mangling of a key is read as a key."""
    assert all(flaw_of(VerifierKey.parse, text) for text in manglings(PETER_KEY))
    assert all(flaw_of(SigningKey.parse, text) for text in manglings(PETER_SIGNER))


@pytest.mark.parametrize(
    ("flaw", "text"),
    [
        (NoteFlaw.KEY_TYPE, spell("x", 0x5A, b"\7" * 32)),
        (NoteFlaw.KEY_TYPE, spell("x", 0x06, b"\7" * 1312)),
        (NoteFlaw.KEY, spell("x", 0x01, b"\7" * 31)),
        (NoteFlaw.KEY, spell("x", 0x01, b"\7" * 33)),
        (NoteFlaw.KEY, "+530d903a+" + "A" * 44),
        (NoteFlaw.KEY, "x+530d903a+===="),
        (NoteFlaw.KEY, "x+530d903a+"),
        (NoteFlaw.KEY, PETER_KEY + "\n"),
        (NoteFlaw.KEY, "x" * 10_000_000),
        (NoteFlaw.KEY_ID, PETER_KEY.replace("c74f20a3", "c74f20a4")),
        (NoteFlaw.KEY_NAME, spell("a b", 0x01, b"\7" * 32)),
        (NoteFlaw.KEY_NAME, spell("a\u00a0b", 0x01, b"\7" * 32)),
        (NoteFlaw.KEY_NAME, spell("n" * 256, 0x01, b"\7" * 32)),
        (NoteFlaw.KEY_NAME, spell("\u20ac" * 86, 0x01, b"\7" * 32)),
        (NoteFlaw.WEAK_KEY, spell("x", 0x01, bytes(32))),
    ],
    ids=range(15),
)
def test_a_bad_key_is_refused_by_name(flaw: NoteFlaw, text: str) -> None:
    """Each way a key can be bad has its name."""
    assert flaw_of(VerifierKey.parse, text) is flaw


def test_messages_hold_no_private_key() -> None:
    """Whatever is wrong with a private key, the message shows no stretch of it."""
    secret = PETER_SIGNER.rsplit("+", 1)[1]
    for text in (*manglings(PETER_SIGNER), PETER_SIGNER.replace("PeterNeumann", "a b"), f"PRIVATE+KEY+{secret}+0+x"):
        with pytest.raises(NoteError) as refusal:
            SigningKey.parse(text)
        assert not any(secret[at : at + 8] in str(refusal.value) for at in range(len(secret) - 8))
        assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


# The group of order 8, computed: points (x, y) on -x^2 + y^2 = 1 + d x^2 y^2 over the field of P elements.
P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def add(one: tuple[int, int], two: tuple[int, int]) -> tuple[int, int]:
    """The sum of two points, RFC 8032 section 5.1."""
    (x1, y1), (x2, y2) = one, two
    bend = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + bend, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - bend, -1, P) % P


def point_at(y: int) -> tuple[int, int] | None:
    """A point with this y, or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    for x in (root, root * pow(2, (P - 1) // 4, P) % P):
        if x * x % P == square:
            return x, y
    return None


def small_order_ys() -> set[int]:
    """The y of every point of order 1, 2, 4 or 8: multiples of what is left of points after the large prime order."""
    order = 2**252 + 27742317777372353535851937790883648493
    found: set[int] = set()
    for y in range(2, 40):
        point, left, rest = point_at(y), (0, 1), order
        while point and rest:
            left = add(left, point) if rest % 2 else left
            point, rest = add(point, point), rest // 2
        found.add(left[1])
    return found


def test_points_of_small_order_are_no_keys() -> None:
    """All of them are refused, in every spelling that fits 255 bits, with either sign."""
    ys = small_order_ys()
    assert len(ys) == 5
    spellings = [y + k * P for y in ys for k in (0, 1) if y + k * P < 2**255]
    assert len(spellings) == 7
    for y in spellings:
        for sign in (0, 1 << 255):
            public = (y | sign).to_bytes(32, "little")
            assert flaw_of(VerifierKey, "x", public) is NoteFlaw.WEAK_KEY
    Ed25519PublicKey.from_public_bytes(bytes(32)).verify(bytes(64), b"any text")  # this is why


@given(st.text(max_size=20))
def test_a_key_name_has_no_space_plus_or_control_character(name: str) -> None:
    """A name is valid unless it is empty or has white space, a plus, a control character or a lone surrogate."""
    bad = any(char.isspace() or char == "+" or char < " " or 0xD800 <= ord(char) < 0xE000 for char in name)
    assert valid_name(name) == (bool(name) and not bad)


@given(st.binary(max_size=12) | st.text("AQgw=+/ \n-_", max_size=8).map(str.encode))
def test_base64_has_one_spelling(data: bytes) -> None:
    """A text that decodes is the encoding of its value."""
    assert strict_base64(base64.b64encode(data).decode()) == data
    with suppress(ValueError):
        assert base64.b64encode(strict_base64(data.decode("latin-1"))) == data
