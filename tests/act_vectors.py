"""Vectors of signed acts: docs/formats/signed-acts.md."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.proof.acts.errors import ActFlaw
from ledger.proof.format.canonical import canonical
from tests.ledger.proof.acts.signing import (
    LEDGER,
    PREPARED_US,
    Device,
    FileKey,
    decision,
    registration,
    revocation,
    signed,
)
from tests.vector_parts import Vector, vector

FILE = FileKey(Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32))
EC = ec.derive_private_key(8, ec.SECP256R1())
HOUR_US = 3600 * 1_000_000


def act_vectors() -> Iterator[Vector]:
    """Acts with the events of keys before them: good ones by each scheme, and what each step refuses."""
    by_file, by_device = registration(FILE, "ada"), registration(Device(EC), "ada")
    good, asserted = signed(decision(), FILE), signed(decision(), Device(EC))
    yield _act("by a key file", None, [by_file], good)
    yield _act("by a passkey", None, [by_device], asserted)
    synced = Device(Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32), flags=0x1D, counter=3)
    yield _act("by a passkey that is backed up", None, [registration(synced, "ada")], signed(decision(), synced))
    expiring = registration(FILE, "ada", expires_at="2026-07-01T13:00:00Z")
    yield _act("before the key expires", None, [expiring], good, PREPARED_US + HOUR_US - 1)
    yield _act("after it expired", ActFlaw.KEY, [expiring], good, PREPARED_US + HOUR_US)
    yield _act("after its revocation", ActFlaw.KEY, [by_file, revocation("ada")], good)
    yield _act("without a registration", ActFlaw.KEY, [], good)
    yield _act("covers less", ActFlaw.COVERS, [by_file], _with(good, "signature", covers=["digest"]))
    yield _act("padded", ActFlaw.ENCODING, [by_file], _with(good, "signature", signature="AA=="))
    yield _act("another outcome", ActFlaw.INVALID, [by_file], _with(good, "data", outcome="approve"))
    yield _act("another commitment", ActFlaw.INVALID, [by_file], good | {"sealed": {"rationale": "ce" * 32}})
    yield _act("another recommendation", ActFlaw.CHALLENGE, [by_device], _with(asserted, "data", recommendation_id=18))
    for name, flaw, device in (
        ("at another origin", ActFlaw.ORIGIN, Device(EC, origin="https://evil.example")),
        ("in a frame", ActFlaw.ORIGIN, Device(EC, client_members={"crossOrigin": True})),
        ("for another relying party", ActFlaw.ORIGIN, Device(EC, rp_id="evil.example")),
        ("without its user", ActFlaw.DEVICE, Device(EC, flags=0x01)),
        ("of another type", ActFlaw.CHALLENGE, Device(EC, client_members={"type": "webauthn.create"})),
    ):
        yield _act(name, flaw, [by_device], signed(decision(), device))


def _with(body: dict[str, Any], member: str, **changes: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    changed[member] |= changes
    return changed


def _act(
    name: str, flaw: ActFlaw | None, before: list[dict[str, Any]], body: dict[str, Any], at_us: int = PREPARED_US
) -> Vector:
    keys = [canonical(each).decode() for each in before]
    act = canonical(body).decode()
    return vector(name, None if flaw is None else flaw.value, ledger=LEDGER, keys=keys, act=act, recorded_at_us=at_us)
