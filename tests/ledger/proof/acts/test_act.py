"""A signature shows one act of one subject, and fits nothing else."""

from __future__ import annotations

import base64
import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.acts.act import SignedAct, check_act
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.keys import Keys
from tests.ledger.proof.acts.signing import (
    LEDGER,
    PREPARED_US,
    Device,
    FileKey,
    Signer,
    b64u,
    decision,
    registration,
    revocation,
    signed,
)

RSA = rsa.generate_private_key(65537, 2048)
KINDS: dict[str, Callable[[], Signer]] = {
    "ed25519": FileKey,
    "es256": Device,
    "eddsa": lambda: Device(ed25519.Ed25519PrivateKey.generate()),
    "rs256": lambda: Device(RSA),
    "synced": lambda: Device(flags=0x1D),
}
EACH_KIND = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def ring(*bodies: dict[str, Any], ledger: str = LEDGER) -> Keys:
    """Return the keys after these events at positions 1, 2, 3…"""
    keys = Keys(ledger)
    for position, body in enumerate(bodies, 1):
        keys.take(position, body)
    return keys


def check(body: dict[str, Any], keys: Keys, time_us: int = PREPARED_US) -> SignedAct:
    """Verify an act."""
    return check_act(body, time_us, keys)


def flaw(body: dict[str, Any], keys: Keys, time_us: int = PREPARED_US) -> ActFlaw:
    """Return why an act is refused."""
    with pytest.raises(ActError) as caught:
        check_act(body, time_us, keys)
    return caught.value.flaw


@EACH_KIND
def test_a_signed_act_verifies(make: Callable[[], Signer]) -> None:
    """In both schemes and with each algorithm, an act verifies, also after all its sealed values are gone."""
    key = make()
    act = check(signed(decision(), key), ring(registration(key, "ada")))
    assert (act.key.subject, act.key.credential, act.key.registered_at) == ("ada", 2, 1)
    assert act.prepared_us == PREPARED_US


@EACH_KIND
def test_no_bit_of_a_signature_can_be_flipped(make: Callable[[], Signer]) -> None:
    """Each bit of each member that the scheme adds, flipped, makes the act refused."""
    key = make()
    keys, good = ring(registration(key, "ada")), signed(decision(), key)
    for name in good["signature"].keys() & {"authenticator_data", "client_data", "signature"}:
        raw = base64.urlsafe_b64decode(good["signature"][name] + "==")
        for bit in range(len(raw) * 8):
            other = bytearray(raw)
            other[bit // 8] ^= 1 << bit % 8
            body = copy.deepcopy(good)
            body["signature"][name] = b64u(bytes(other))
            flaw(body, keys)


LIFTED: dict[str, dict[str, Any]] = {
    "id": {"id": "0197f3c2-8a00-7000-8000-000000000018"},
    "type": {"type": "recommendation.communicated"},
    "version": {"schema": 2},
    "commitment": {"sealed": {"rationale": "ce" * 32}},
    "another commitment": {"sealed": {"rationale": "cd" * 32, "response": "cd" * 32}},
    "no commitment": {"sealed": {}},
}


@EACH_KIND
@pytest.mark.parametrize("changes", LIFTED.values(), ids=LIFTED)
def test_a_signature_lifted_onto_another_act_is_refused(make: Callable[[], Signer], changes: dict[str, Any]) -> None:
    """A signature fits neither another event, nor another type, version or sealed value."""
    key = make()
    flaw(signed(decision(), key) | changes, ring(registration(key, "ada")))


@EACH_KIND
@pytest.mark.parametrize("member", ["digest", "outcome", "reason_code", "recommendation_id"])
def test_a_signature_lifted_onto_other_data_is_refused(make: Callable[[], Signer], member: str) -> None:
    """A signature fits no other recommendation, outcome or digest, nor the same data without one of them."""
    key = make()
    keys, good = ring(registration(key, "ada")), signed(decision(), key)
    body = copy.deepcopy(good)
    for value in ("approve", 18, None):
        body["data"][member] = value
        assert flaw(body, keys) in {ActFlaw.INVALID, ActFlaw.CHALLENGE}
    del body["data"][member]
    assert flaw(body, keys) in {ActFlaw.INVALID, ActFlaw.CHALLENGE}


@EACH_KIND
def test_a_signature_lifted_onto_another_ledger_or_subject_is_refused(make: Callable[[], Signer]) -> None:
    """The same key in another ledger, and another subject's key, do not make the signature fit."""
    key, other = make(), make() if make is not KINDS["rs256"] else FileKey()
    good = signed(decision(), key)
    with pytest.raises(ActError):
        ring(registration(key, "ada"), ledger="other.example/ledger")
    keys = ring(registration(key, "ada"), registration(other, "bob"))
    elsewhere = signed(decision(), key, ledger="other.example/ledger")
    assert flaw(elsewhere, keys) in {ActFlaw.INVALID, ActFlaw.CHALLENGE}
    assert flaw(good | {"actor": {"id": "bob"}}, keys) in {ActFlaw.INVALID, ActFlaw.CHALLENGE, ActFlaw.KEY}


@EACH_KIND
def test_a_key_is_judged_by_position(make: Callable[[], Signer]) -> None:
    """A key signs after its registration and before its revocation and expiry; earlier acts stay good."""
    key = make()
    body = signed(decision(), key)
    assert flaw(body, Keys(LEDGER)) is ActFlaw.KEY
    keys = ring(registration(key, "ada", expires_at="2026-07-01T13:00:00Z"))
    hour = 3600 * 1_000_000
    check(body, keys, PREPARED_US + hour - 1)
    assert flaw(body, keys, PREPARED_US + hour) is ActFlaw.KEY
    keys.take(2, revocation("bob"))
    check(body, keys)
    keys.take(3, revocation("ada"))
    assert flaw(body, keys) is ActFlaw.KEY


def test_covers_is_what_the_format_says() -> None:
    """An event cannot claim to cover less, more, or in another order, and a type without a list has no signature."""
    key = FileKey()
    keys, good = ring(registration(key, "ada")), signed(decision(), key)
    for covers in ([], ["digest"], ["outcome", "digest", "reason_code", "recommendation_id"], None, "digest"):
        body = copy.deepcopy(good)
        body["signature"]["covers"] = covers
        assert flaw(body, keys) is ActFlaw.COVERS
    assert flaw(good | {"type": "portfolio.requested"}, keys) is ActFlaw.COVERS


ODD: dict[str, Any] = {
    "no object": None,
    "a list": [],
    "nothing": {},
    "unknown scheme": {"scheme": "rsa"},
    "scheme of a list": {"scheme": []},
    "text key": {"key": "2"},
    "truth": {"key": True},
    "extra member": {"extra": 1},
    "padding": {"signature": "AA=="},
    "wrong alphabet": {"signature": "+/+/"},
    "trailing bits": {"signature": "AB"},
    "length": {"signature": "A"},
    "empty": {"signature": ""},
    "too long": {"signature": "A" * 2000},
    "no date": {"prepared_at": "2026-02-30T12:00:00Z"},
    "offset": {"prepared_at": "2026-07-01T12:00:00+00:00"},
    "number": {"prepared_at": 1},
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_a_malformed_signature_has_a_name(change: Any) -> None:
    """Whatever stands in the member, the result is a named flaw and no other error."""
    key = FileKey()
    body = signed(decision(), key)
    body["signature"] = change if not change else body["signature"] | change
    assert flaw(body, ring(registration(key, "ada"))) in {ActFlaw.ENCODING, ActFlaw.KEY}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(sorted(decision())), JSON), st.sampled_from([*decision(), "signature"]), JSON)
def test_no_body_raises_anything_else(changes: dict[str, Any], lost: str, signature: Any) -> None:
    """Any JSON in the place of any member of a signed act is refused with a named flaw, or does not concern it."""
    key = FileKey()
    keys = ring(registration(key, "ada"))
    for body in (signed(decision(), key) | changes, decision() | {"signature": signature} | changes):
        body.pop(lost, None)
        with contextlib.suppress(ActError):
            check(body, keys)


@given(st.dictionaries(st.sampled_from([*Device().data(), "credential", "proof", "expires_at"]), JSON, min_size=1))
def test_no_registration_raises_anything_else(changes: dict[str, Any]) -> None:
    """Any JSON in the place of any member of a registration is refused with a named flaw."""
    for key in (FileKey(), Device()):
        body = registration(key, "ada")
        body["data"] |= changes
        with contextlib.suppress(ActError):
            Keys(LEDGER).take(1, body)


def test_a_key_is_registered_once() -> None:
    """Neither another subject, nor the other scheme, nor a later registration can have the same public key."""
    private = ed25519.Ed25519PrivateKey.generate()
    for other in (FileKey(private), Device(private)):
        keys = ring(registration(FileKey(private), "ada"))
        for subject, number in (("bob", 2), ("ada", 3)):
            with pytest.raises(ActError, match="registered at position 1"):
                keys.take(2, registration(other, subject, number))
    keys = ring(registration(FileKey(), "ada"))
    with pytest.raises(ActError, match="the number 2"):
        keys.take(2, registration(FileKey(), "ada"))


@EACH_KIND
def test_a_registration_shows_possession(make: Callable[[], Signer]) -> None:
    """A registration whose proof is of another key, subject or ledger, or over other members, is refused."""
    key = make()
    for change in (
        {"data": {**registration(key, "ada")["data"], "expires_at": "2030-01-01T00:00:00Z"}},
        {"stream": "subject-bob"},
        {"data": {**registration(key, "ada")["data"], "proof": registration(FileKey(), "ada")["data"]["proof"]}},
        {"data": {**registration(key, "ada")["data"], "purpose": "login"}},
    ):
        with pytest.raises(ActError):
            Keys(LEDGER).take(1, registration(key, "ada") | change)
