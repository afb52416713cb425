"""ledger/proof/tlog/key_rotation.py: what both keys signed leads from one to the other, and nothing else does."""

from __future__ import annotations

from hashlib import sha512
from itertools import permutations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given

from ledger.export.bundle_writer import encode_rotations
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.key_rotation import (
    MAX_ROTATIONS,
    RotationFlaw,
    check_rotation,
    followed,
    key_name,
    split_rotations,
    statement,
)
from ledger.proof.tlog.note import Note, Signature
from ledger.tlog.signing_keys import SigningKey, sign_rotation
from ledger.verify.handovers import Handovers
from tests.ledger.proof.chains import ORIGIN
from tests.ledger.proof.mutation import flaw_of, mutated
from tests.ledger.proof.tlog.test_note_keys import D, P, add

SEED = bytes([9]) * 32
OLD = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(SEED))
NEW, NEXT, STRANGER = (SigningKey.generate(ORIGIN) for _ in range(3))
ELSEWHERE = SigningKey.generate("elsewhere.example/log")
GOOD = sign_rotation(OLD, NEW)


def made(text: str, *signatures: Signature) -> bytes:
    """A note with these signatures, right or wrong."""
    return Note(text, signatures).encode()


def test_a_rotation_is_signed_by_both_keys() -> None:
    """Seven lines, in which both keys say so; read back, these keys."""
    found = check_rotation(GOOD.note, ORIGIN)
    assert (found.old, found.new, found.note) == (OLD.verifier, NEW.verifier, GOOD.note)
    assert GOOD.note.count(b"\n") == 7
    further = sign_rotation(NEW, NEXT)
    assert split_rotations(encode_rotations([GOOD, further])) == [GOOD.note, further.note]
    assert split_rotations(b"") == []


TEXT = statement(OLD.verifier, NEW.verifier)
BY_OLD, BY_NEW = OLD.sign(TEXT), NEW.sign(TEXT)


def again(text: str) -> Signature:
    """Another signature by OLD on a text, with another nonce: the owner of a key can make any number of them."""
    order = 2**252 + 27742317777372353535851937790883648493
    y = 4 * pow(5, -1, P) % P
    x = pow((y * y - 1) * pow(D * y * y + 1, -1, P), (P + 3) // 8, P)
    x = x if x * x % P == (y * y - 1) * pow(D * y * y + 1, -1, P) % P else x * pow(2, (P - 1) // 4, P) % P
    point, base, nonce = (0, 1), (P - x if x % 2 else x, y), 12345
    for bit in f"{nonce:b}":
        point = add(point, point)
        point = add(point, base) if bit == "1" else point
    first = (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")
    secret = int.from_bytes(sha512(SEED).digest()[:32], "little") & ~7 & ~(1 << 255) | 1 << 254
    factor = int.from_bytes(sha512(first + OLD.verifier.public + text.encode()).digest(), "little")
    return BY_OLD._replace(blob=first + ((nonce + factor * secret) % order).to_bytes(32, "little"))


def test_what_is_no_rotation_is_refused_by_name() -> None:
    """One signature, two by one key, one by a stranger, another log, one key, another text: each by its name."""
    by_stranger = STRANGER.sign(TEXT)
    OLD.verifier.check(TEXT.encode(), again(TEXT).blob)
    assert again(TEXT) != BY_OLD
    elsewhere = statement(ELSEWHERE.verifier, ELSEWHERE.verifier)
    for note, flaw in [
        (made(TEXT, BY_OLD), RotationFlaw.ONE_SIDED),
        (made(TEXT, BY_NEW), RotationFlaw.ONE_SIDED),
        (made(TEXT, BY_OLD, BY_OLD), RotationFlaw.ONE_SIDED),
        (made(TEXT, BY_OLD, again(TEXT)), RotationFlaw.ONE_SIDED),
        (made(TEXT, BY_OLD, by_stranger), RotationFlaw.ONE_SIDED),
        (made(TEXT, BY_OLD, BY_NEW, by_stranger), RotationFlaw.ONE_SIDED),
        (made(elsewhere, ELSEWHERE.sign(elsewhere)), RotationFlaw.OTHER_LOG),
        (made(TEXT.replace(f"origin {ORIGIN}", "origin other"), BY_OLD, BY_NEW), RotationFlaw.OTHER_LOG),
        (made(statement(OLD.verifier, OLD.verifier), BY_OLD, BY_NEW), RotationFlaw.ONE_KEY),
        (made(TEXT + "more\n", BY_OLD, BY_NEW), RotationFlaw.STATEMENT),
        (made(TEXT.replace("v1", "v2"), BY_OLD, BY_NEW), RotationFlaw.STATEMENT),
        (made(TEXT.replace("\nold ", "\nelder "), BY_OLD, BY_NEW), RotationFlaw.STATEMENT),
    ]:
        assert flaw_of(check_rotation, note, ORIGIN) is flaw, note
    assert flaw_of(check_rotation, GOOD.note, "elsewhere.example/log") is RotationFlaw.OTHER_LOG
    assert flaw_of(split_rotations, GOOD.note[:-1]) is RotationFlaw.STATEMENT
    assert flaw_of(split_rotations, GOOD.note * (MAX_ROTATIONS + 1)) is RotationFlaw.TOO_MANY
    with pytest.raises(EvidenceError, match="both keys are the same"):
        sign_rotation(OLD, OLD)


@given(mutated(GOOD.note))
def test_a_changed_byte_is_refused(changed: bytes) -> None:
    """Any mutation is a named refusal, or leaves both keys and what they say as they were."""
    try:
        notes = split_rotations(changed)
        found = [check_rotation(note, ORIGIN) for note in notes]
    except EvidenceError:
        return
    assert all((one.old, one.new) == (OLD.verifier, NEW.verifier) for one in found)


def test_only_forwards_and_only_from_what_is_trusted() -> None:
    """In any order of the notes; from no stranger's pair, from no key later than that, and round no circle forever."""
    first, second = GOOD, sign_rotation(NEW, NEXT)
    theirs, back = sign_rotation(STRANGER, SigningKey.generate(ORIGIN)), sign_rotation(NEXT, OLD)
    for notes in permutations([first, second, theirs, back]):
        assert followed([OLD.verifier], notes) == [first, second]
    notes = (first, second, theirs)
    assert followed([NEW.verifier], notes) == [second]
    assert followed([NEXT.verifier], notes) == []
    assert followed([], notes) == []
    assert followed([ELSEWHERE.verifier], notes) == []


def test_earlier_keys_count_up_to_their_rotation() -> None:
    """A ledger's own rotations also lead back, to keys that sign nothing from where they gave way on."""
    on_record = [(10, GOOD), (20, sign_rotation(NEW, NEXT)), (30, sign_rotation(STRANGER, SigningKey.generate(ORIGIN)))]
    name = [key_name(key.verifier) for key in (OLD, NEW, NEXT, STRANGER)]
    all_of = {OLD.verifier, NEW.verifier, NEXT.verifier}
    for given_key, limits in ((OLD, [None] * 3), (NEW, [10, None, None]), (NEXT, [10, 20, None])):
        found = Handovers([given_key.verifier], on_record)
        assert set(found.keys) == all_of
        assert [found.until(one) for one in name] == [*limits, None]
    assert Handovers([STRANGER.verifier], on_record[:2]).keys == (STRANGER.verifier,)
    assert Handovers([], on_record).keys == ()
