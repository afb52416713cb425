"""Bundles with proven events beside the selected ones, each for one check: where streams end, and signing keys.

docs/formats/bundle.md, sections 11 and 12, and how far a bundle is shown to be complete (section 7, step 10).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.heads import key_of
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow
from ledger.proof.tlog.merkle import inclusion_proof, leaf_hashes
from ledger.proof.tlog.tiles import reader
from ledger.tlog.signing_keys import SigningKey
from ledger.tlog.tree import encode_tile
from tests.bundle_vectors_zip import Check
from tests.ledger.proof.acts.chain import act, rows
from tests.ledger.proof.acts.signing import Device, FileKey, registration, revocation, signed
from tests.ledger.proof.bundle.bundles import Case, line_of, make_bundle
from tests.ledger.proof.bundle.headed import headed_case, recorded, tree, without
from tests.ledger.proof.chains import chain_of, rehashed

FIRST = Selection("request", request=1)
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
EC = ec.derive_private_key(8, ec.SECP256R1())
MISMATCH, DAMAGED, NOT_SHOWN = Kind.HEADS_MISMATCH, Kind.DAMAGED, Kind.NOT_SHOWN


def proven_vectors(key: SigningKey) -> Iterator[Check]:
    """All of them. `key` is that of the transparency log."""
    yield from _heads(key)
    yield from _needed(key)
    yield from _acts(key)
    yield from _signing_keys(key)


# --- where streams end ------------------------------------------------------------------------------------------------


def _heads(key: SigningKey) -> Iterator[Check]:
    """The record at position 3, of the events of request-1 and request-2 at positions 1 and 2."""
    good = headed_case([1, 2], FIRST, key)
    member = good.files[bundle.HEADS]

    def forged(change: Callable[[dict[str, Any]], object]) -> bytes:
        heads = json.loads(member)
        change(heads)
        return headed(canonical(heads))

    def headed(data: bytes) -> bytes:
        case = Case(good.files.copy())
        case.files[bundle.HEADS] = data
        return case.write()

    def flip(name: str) -> Callable[[dict[str, Any]], object]:
        def change(heads: dict[str, Any]) -> None:
            heads[name][0] = heads[name][0][::-1]

        return change

    for name, change, kind, position, words in (
        ("a record, its inclusion: one hash too few", lambda heads: heads["inclusion"].pop(), MISMATCH, 3, "not shown"),
        ("a record, a hash of the path", flip("path"), MISMATCH, 3, "not the streams"),
        ("a record, one hash of the path too few", lambda heads: heads["path"].pop(), MISMATCH, 3, "not the streams"),
        ("a record, another salt", lambda heads: heads.update(salt="00" * 32), MISMATCH, 3, "not the streams"),
        ("a record, another version", lambda heads: heads.update(streams=[["request-1", 2]]), MISMATCH, 3, "not the"),
        ("a record with another member", lambda heads: heads.update(x=1), DAMAGED, 0, "stream heads"),
        ("a record without a member", lambda heads: heads.pop("salt"), DAMAGED, 0, "'salt' is missing"),
        ("a record with sealed values", lambda heads: heads["event"].update(fields="{}", salts="{}"), DAMAGED, 0,
         "stream heads"),
        ("a record, a path of 257 hashes", lambda heads: heads.update(path=["00" * 32] * 257), DAMAGED, 0, "heads"),
    ):  # fmt: skip
        more = {"complete": False if kind is MISMATCH else None}
        yield Check(name, forged(change), kind, position, words, more)
    yield Check("a record, with white space", headed(member.replace(b',"path"', b', "path"')), DAMAGED, 0, "heads")
    yield Check("a record that is another event", _another_event(key), MISMATCH, 2, "no stream-heads.recorded")
    yield Check("a record of its own position", _of_itself(key), MISMATCH, 2, "no stream-heads.recorded")
    for name, selection in (
        ("a range", Selection("positions", first_position=1, last_position=3)),
        ("a client that is not named", Selection("client")),
    ):
        case = Case.read(make_bundle(3, selection, key))
        case.files[bundle.HEADS] = member
        yield Check(f"where streams end, of {name}", case.write(), DAMAGED, 0, "no leaf")


def _another_event(key: SigningKey) -> bytes:
    """The bundle of request-1 and, in place of the record, the event at position 2, which the log has."""
    events = list(chain_of(2))
    line = {name: value for name, value in line_of(events[1]).items() if name not in {"fields", "salts"}}
    return _recorded(key, events, {"event": line, "path": [], "salt": "00" * 32})


def _of_itself(key: SigningKey) -> bytes:
    """The bundle of request-1 with a record at position 2 that speaks of the positions up to 2."""
    first, record = recorded([1])
    data = json.loads(record.body)["data"] | {"as_of": 2}
    later = rehashed(record._replace(body=canonical(json.loads(record.body) | {"data": data})))
    line = {name: value for name, value in line_of(later).items() if name not in {"fields", "salts"}}
    found = tree([1], key_of(FIRST))
    path = [each.hex() for each in found.path]
    return _recorded(key, [first, later], {"event": line, "path": path, "salt": found.salt.hex()})


def _recorded(key: SigningKey, events: list[EventRow], heads: dict[str, Any]) -> bytes:
    """The bundle of request-1 of two events; the heads are completed."""
    case = Case.read(make_bundle(2, FIRST, key, lambda event: event.position == 1, events=events))
    inclusion = [leaf_hashes([events[0].hash])[0].hex()]
    members: Any = {**heads, "inclusion": inclusion, "streams": [["request-1", 1]]}
    case.files[bundle.HEADS] = canonical(members)
    return case.write()


# --- how far it is shown to be complete -------------------------------------------------------------------------------


def _needed(key: SigningKey) -> Iterator[Check]:
    """The record is at position 2, and another event of the request at position 3."""
    whole = make_bundle(1, FIRST, key)
    yield Check("a request that must be complete", whole, NOT_SHOWN, 0, "is not shown", {"needs": {}})
    longer = headed_case([1], FIRST, key, then=[1])
    cut = without(headed_case([1], FIRST, key, then=[1]), 3).write()
    time_us = next(line["recorded_at_us"] for line in longer.lines if line["position"] == 1)
    for name, data, needs, kind in (
        ("that must be complete, and is", longer.write(), {}, None),
        ("that must be complete, its last event left out", cut, {}, NOT_SHOWN),
        ("that must be complete to a position, and is", cut, {"position": 2}, None),
        ("that must be complete to a later position", cut, {"position": 3}, NOT_SHOWN),
        ("that must be complete to a time, and is", cut, {"time_us": time_us}, None),
        ("that must be complete to a later time", cut, {"time_us": time_us + 10_000_000}, NOT_SHOWN),
    ):
        yield Check(f"a request {name}", data, kind, 0, "is not shown", {"needs": needs})
    part = Selection("positions", first_position=1, last_position=2)
    case = Case.read(make_bundle(1, part, key))
    case.files[bundle.MANIFEST] = replace(case.manifest, excluded=1, excluded_from=2).encode()
    more = {"needs": {}, "complete": False}
    yield Check("a range in part that must be complete", case.write(), NOT_SHOWN, 0, "were left out", more)


# --- signed acts ------------------------------------------------------------------------------------------------------


def _acts(key: SigningKey) -> Iterator[Check]:
    """Ranges with an act, mostly after the registration of its key."""
    own, device = FileKey(PRIVATE), Device(EC)
    by_file, by_device = registration(own, "ada"), registration(device, "ada")
    good = signed(act(2), own)
    stranger = FileKey(Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32))
    for name, bodies, kind in (
        ("signed", [by_file, good], None),
        ("signed, its key is not in the bundle", [good], None),
        ("by a revoked key", [by_file, revocation("ada"), good], Kind.SIGNATURE_KEY),
        ("that covers less", [by_file, _with(good, "signature", covers=["digest"])], Kind.SIGNATURE_COVERS),
        ("with a padded signature", [by_file, _with(good, "signature", signature="AA==")], Kind.SIGNATURE_ENCODING),
        ("by another key", [by_file, signed(act(2), stranger)], Kind.SIGNATURE_INVALID),
        ("with another outcome", [by_file, _with(good, "data", outcome="approve")], Kind.SIGNATURE_INVALID),
        ("that stands twice", [by_file, good, good], Kind.SIGNATURE_REPEATED),
        ("of another challenge", [by_device, _with(signed(act(2), device), "data", recommendation_id=18)],
         Kind.SIGNATURE_CHALLENGE),
        ("at another origin", [by_device, signed(act(2), Device(EC, origin="https://evil.example"))],
         Kind.SIGNATURE_ORIGIN),
        ("without its user", [by_device, signed(act(2), Device(EC, flags=0x01))], Kind.SIGNATURE_DEVICE),
    ):  # fmt: skip
        size = len(bodies)
        selection = Selection("positions", first_position=1, last_position=size)
        data = make_bundle(size, selection, key, events=rows(*bodies))
        yield Check(f"an act {name}", data, kind, 0 if kind is None else size, "")
    false = copy.deepcopy(by_file)
    false["data"]["proof"] = registration(stranger, "ada")["data"]["proof"]
    alone = Selection("positions", first_position=1, last_position=1)
    data = make_bundle(1, alone, key, events=rows(false))
    yield Check("a registration that its key did not sign", data, Kind.SIGNATURE_INVALID, 1, "registration")


def _with(body: dict[str, Any], member: str, **changes: Any) -> dict[str, Any]:
    return body | {member: body[member] | changes}


def _signing_keys(key: SigningKey) -> Iterator[Check]:
    """The bundle of request-2, which has an act at position 2; positions 1 and 3 register and revoke its key."""
    own = FileKey(PRIVATE)
    events = rows(registration(own, "ada"), signed(act(2), own), revocation("ada"))
    leaves = leaf_hashes(event.hash for event in events)
    nodes = reader(len(leaves), lambda tiles: [encode_tile(leaves) for _ in tiles])

    def proven(at: int, **changes: Any) -> dict[str, Any]:
        line = {name: value for name, value in line_of(events[at - 1]).items() if name not in {"fields", "salts"}}
        proof = [each.hex() for each in inclusion_proof(at - 1, len(leaves), nodes)]
        return {"event": line | changes, "inclusion": proof}

    registered, revoked, foreign = proven(1), proven(3), proven(2)
    cut = registered | {"inclusion": registered["inclusion"][:-1]}
    wrong = Kind.SIGNATURE_KEY
    for name, members, kind, position, words in (
        ("signing keys", [registered, revoked], None, 0, ""),
        ("signing keys, another event", [registered, foreign], wrong, 2, "neither registers nor revokes"),
        ("signing keys, an event with another time", [proven(1, recorded_at_us=5)], wrong, 1, "not shown to have"),
        ("signing keys, one hash of a proof too few", [cut], wrong, 1, "not shown to have"),
        ("signing keys, out of order", [revoked, registered], DAMAGED, 0, "out of order"),
        ("signing keys, an event twice", [registered, registered], DAMAGED, 0, "out of order"),
        ("signing keys, sealed values", [proven(1, fields="{}", salts="{}")], DAMAGED, 0, "sealed values"),
        ("signing keys, a body beyond the limit", [proven(1, body="x" * 65_537)], DAMAGED, 0, "too large"),
    ):
        case = Case.read(
            make_bundle(3, Selection("request", request=2), key, lambda event: event.position == 2, events=events)
        )
        content: Any = {"events": members}
        case.files[bundle.SIGNING_KEYS] = canonical(content)
        yield Check(f"a request with {name}", case.write(), kind, position, words)
