"""Bundles of one event that differ from a good one in one thing, which one check alone finds; for bundle_vectors.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.key_rotation import statement
from ledger.proof.tlog.note import Note
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from tests.bundle_vectors_beside import Beside
from tests.bundle_vectors_selection import of
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.bundle.headed import headed_case, without
from tests.vector_parts import ELSEWHERE, OTHER_LOG

FIRST = Selection("request", request=1)


def single_vectors(key: SigningKey) -> Iterator[Beside]:
    """All of them."""
    whole = make_bundle(1, FIRST, key)
    for name, change, wrong, position in CHANGES:
        case = Case.read(whole)
        change(case)
        yield name, case.write(careful=False), wrong, position, {}
    yield "a request and another one", make_bundle(2, FIRST, key, of(1, 2)), Kind.CLIENT_MISMATCH, 2, {}
    other = sign_checkpoint(Checkpoint(ELSEWHERE.verifier.name, 1, bytes(32)), ELSEWHERE).encode().decode()
    yield "an older checkpoint of another ledger", whole, Kind.OTHER_LEDGER, 0, {"since": other}
    for name, note in (
        ("a rotation of eight lines", _statement(key, OTHER_LOG) + b"\n"),
        ("a rotation from a key to itself", _statement(key, key)),
    ):
        case = Case.read(whole)
        case.files[bundle.ROTATIONS] = note
        yield name, case.write(), Kind.BAD_ROTATION, 0, {}
    yield from _heads(key)


def _statement(old: SigningKey, new: SigningKey) -> bytes:
    text = statement(old.verifier, new.verifier)
    return Note(text, (old.sign(text), new.sign(text))).encode()


def _heads(key: SigningKey) -> Iterator[Beside]:
    """The record at position 2, of the event at position 1; perhaps another event of the request at position 3."""
    early = headed_case([1], FIRST, key)
    heads = json.loads(early.files[bundle.HEADS])
    heads["event"]["recorded_at_us"] += 1
    early.files[bundle.HEADS] = canonical(heads)
    yield "a record with another hash than its own", early.write(), Kind.HEADS_MISMATCH, 2, {"complete": False}
    longer = headed_case([1], FIRST, key, then=[1])
    yield "all events, one of them after the record", longer.write(), None, 0, {"complete": True}
    yield "the event after the record left out", without(longer, 3).write(), None, 0, {"complete": None}


def _in_manifest(change: Callable[[Manifest], object]) -> Callable[[Case], None]:
    def alter(case: Case) -> None:
        manifest = case.manifest
        change(manifest)
        case.files[bundle.MANIFEST] = manifest.encode()

    return alter


def _other_digest(manifest: Manifest) -> None:
    size, digest = manifest.files[bundle.KEYS]
    manifest.files[bundle.KEYS] = size, digest[::-1]


def _line(**members: Any) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.lines = [{**line, **members} for line in case.lines]
        case.write()

    return change


def _unknown_member(case: Case) -> None:
    case.files[bundle.MANIFEST] = canonical({**json.loads(case.files[bundle.MANIFEST]), "note": "x"})


def _longer_edge(case: Case) -> None:
    case.files[bundle.EDGE] += bytes(32)
    case.write()


def _part_of_a_tile(case: Case) -> None:
    case.files[bundle.tiles_name(0)] = bytes(40)
    case.write()


CHANGES: list[tuple[str, Callable[[Case], None], Kind, int]] = [
    ("another SHA-256 of a file", _in_manifest(_other_digest), Kind.FILE_MISMATCH, 0),
    ("a count too high", _in_manifest(lambda one: setattr(one, "count", 2)), Kind.TRUNCATED, 2),
    ("a count too low", _in_manifest(lambda one: setattr(one, "count", 0)), Kind.INSERTED, 1),
    ("another first position", _in_manifest(lambda one: setattr(one, "first_position", 0)), Kind.SUMMARY_MISMATCH, 0),
    ("a member that no manifest has", _unknown_member, Kind.DAMAGED, 0),
    ("a member that no event line has", _line(note="x"), Kind.DAMAGED, 0),
    ("withheld names out of order", _line(withheld=["notes", "client_id"]), Kind.DAMAGED, 0),
    ("an edge that is too long", _longer_edge, Kind.DAMAGED, 0),
    ("a tile that ends early", _part_of_a_tile, Kind.DAMAGED, 0),
]
