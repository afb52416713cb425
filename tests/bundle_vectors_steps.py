"""Bundles for each check of steps 2 to 10 that no other vector is alone for: docs/formats/bundle.md, section 7."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.merkle import leaf_hashes, root_of
from ledger.proof.tlog.note import Note, Signature
from ledger.proof.tlog.note import parse as parse_note
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from tests.bundle_vectors_checks import DAMAGED, FIRST, Change, changed, put
from tests.bundle_vectors_zip import Check
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import chain_of, rehashed
from tests.vector_parts import OTHER_LOG, TIME_S, WITNESS, flipped


def step_vectors(key: SigningKey) -> Iterator[Check]:
    """All of them. `key` is that of the transparency log."""
    whole = make_bundle(1, FIRST, key)
    yield from _signatures(whole, key)
    yield from _older(whole, key)
    yield from _tiles(key)
    yield from _in_streams(key)


# --- section 7, steps 2 to 4 ------------------------------------------------------------------------------------------


def _signatures(whole: bytes, key: SigningKey) -> Iterator[Check]:
    note = parse_note(Case.read(whole).files[bundle.CHECKPOINT])
    (made,) = note.signatures
    theirs, other_id = OTHER_LOG.sign(note.text), Signature(made.name, made.key_id ^ 1, made.blob)
    spoilt = Signature(made.name, made.key_id, flipped(made.blob))
    cosigned = WITNESS.cosign(note.text, TIME_S)
    false = cosigned._replace(blob=cosigned.blob[:-1] + bytes([cosigned.blob[-1] ^ 1]))
    second = WitnessSigningKey("witness.example/w2", Ed25519PrivateKey.from_private_bytes(bytes([8]) * 32))
    both = {"witnesses": [WITNESS.verifier.text, second.verifier.text]}
    one = {"witnesses": [WITNESS.verifier.text]}
    for name, signatures, kind, words, more in (
        ("signed by the log's key and by another", (theirs, made), None, "", {}),
        ("a signature under another key id", (other_id,), Kind.UNTRUSTED_KEY, "no trusted key", {}),
        ("a good signature and a bad one by one key", (made, spoilt), Kind.BAD_SIGNATURE, "the log's signature", {}),
        ("a cosignature that does not verify", (made, cosigned, false), Kind.BAD_SIGNATURE, "a witness's", one),
        ("cosigned by one of two witnesses", (made, cosigned), Kind.TOO_FEW_WITNESSES, "2 are needed", both),
        ("cosigned twice by one of two witnesses", (made, cosigned, WITNESS.cosign(note.text, TIME_S + 1)),
         Kind.TOO_FEW_WITNESSES, "2 are needed", both),
    ):  # fmt: skip
        yield Check(name, _resigned(whole, Note(note.text, signatures).encode()), kind, 0, words, more)
    text = note.encode()
    for name, data in (
        ("a checkpoint without a signature", note.text.encode() + b"\n"),
        ("a checkpoint whose size has a leading zero", text.replace(b"\n1\n", b"\n01\n")),
    ):
        yield Check(name, _resigned(whole, data), DAMAGED, 0, "no signed checkpoint")
    nobody: dict[str, Any] = {"keys": []}
    keyless = changed(whole, put(bundle.KEYS, b""))
    yield Check("keys.txt without a key, for somebody without a key", keyless, None, 0, "", nobody)
    named = changed(whole, put(bundle.KEYS, f"{OTHER_LOG.verifier.text}\n".encode()))
    yield Check("keys.txt with another key, for somebody without one", named, Kind.UNTRUSTED_KEY, 0, "keys.txt", nobody)


def _resigned(whole: bytes, note: bytes) -> bytes:
    """Return the bundle with another checkpoint; the page, which shows it, fits."""

    def change(case: Case) -> None:
        case.files[bundle.CHECKPOINT] = note
        case.write()

    return changed(whole, change)


def _older(whole: bytes, key: SigningKey) -> Iterator[Check]:
    """With an older checkpoint that the reader holds."""
    leaves = leaf_hashes(event.hash for event in chain_of(2))
    case = Case.read(whole)
    origin = case.manifest.origin

    def held(size: int, root: bytes, by: SigningKey = key) -> dict[str, Any]:
        return {"since": sign_checkpoint(Checkpoint(origin, size, root), by).encode().decode()}

    yield Check("an older checkpoint of no events", whole, None, 0, "", held(0, root_of([])))
    yield Check("an older checkpoint of the same size", whole, None, 0, "", held(1, root_of(leaves[:1])))
    other = held(1, root_of(leaves[1:]))
    yield Check("an older checkpoint of the same size and another root", whole, Kind.FORKED, 0, "not shown", other)
    two = make_bundle(2, Selection("positions", first_position=1, last_position=2), key)
    smaller = held(1, root_of(leaves[:1])) | {"verdict": "none"}
    yield Check("an older checkpoint, without a consistency proof", two, None, 0, "", smaller)
    elsewhere = changed(two, put(bundle.CONSISTENCY, b"old 0\n"))
    yield Check("an older checkpoint, with a proof from another size", elsewhere, None, 0, "", smaller)
    unsigned = held(1, root_of(leaves[:1]), OTHER_LOG) | {"verdict": "none"}
    yield Check("an older checkpoint that no trusted key signed", whole, None, 0, "", unsigned)


# --- section 7, steps 5 to 10 -----------------------------------------------------------------------------------------


def _tiles(key: SigningKey) -> Iterator[Check]:
    """Of a tree with a full tile."""
    third = Selection("request", request=3)
    whole = make_bundle(260, third, key, lambda event: event.position == 3)

    def without(case: Case) -> None:
        del case.files[bundle.tiles_name(0)]
        case.write()

    yield Check("a tile is missing", changed(whole, without), Kind.PROOF_MISMATCH, 1, "is missing")
    two = make_bundle(
        520, Selection("positions", first_position=256, last_position=257), key, lambda one: one.position in {256, 257}
    )
    yield Check("a range of two tiles", two, None, 0, "")

    def turned(case: Case) -> None:
        tiles = case.files[bundle.tiles_name(0)]
        half = len(tiles) // 2
        put(bundle.tiles_name(0), tiles[half:] + tiles[:half])(case)

    # As section 4 says, the tile is also missing, at position 1.
    yield Check("tiles out of order", changed(two, turned), Kind.PROOF_MISMATCH, 0, "a tile that no event needs")


def _in_streams(key: SigningKey) -> Iterator[Check]:
    """Of a log that signed what no log should, or of a bundle that leaves out an event."""
    three = make_bundle(15, FIRST, key, lambda event: event.stream == "request-1")

    def drop(at: int) -> Change:
        def change(case: Case) -> None:
            case.lines = [line for line in case.lines if line["position"] != at]
            manifest = case.manifest
            manifest.fields["portfolio.requested.client_id"]["disclosed"] -= 1
            if at == 15:
                manifest.fields.pop("portfolio.requested.notes")
            case.files[bundle.MANIFEST] = manifest.encode()
            case.write()

        return change

    yield Check("a request of three events", three, None, 0, "")
    yield Check(
        "the first event of a request left out", changed(three, drop(1)), Kind.DELETED, 8, "version 1 is missing"
    )
    yield Check("an event of a request left out", changed(three, drop(8)), Kind.DELETED, 15, "version 2 is missing")
    for name, body in (
        ("a body without an id", {"stream": "request-1", "type": "portfolio.requested"}),
        ("a body whose type is a number", {"id": "x", "stream": "request-1", "type": 1}),
    ):
        (event,) = chain_of(1)
        odd = rehashed(event._replace(body=canonical(body), salts=None, fields=None))  # type: ignore[arg-type]
        data = make_bundle(1, FIRST, key, events=[odd])
        yield Check(f"signed by the log: {name}", data, Kind.MALFORMED, 1, "lacks id, stream or type")
