"""Vectors of evidence bundles: good ones, and attacks with the finding that they must give (tests/vectors.py).

The attacker is careful: counts, page and digests of the manifest fit what was changed, where it is not about these.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.export.bundle_writer import encode_consistency
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.tiles import INDEX
from ledger.proof.findings import Kind
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.key_rotation import statement
from ledger.proof.tlog.merkle import consistency_proof, leaf_hashes, root_of
from ledger.proof.tlog.note import Note, Signature
from ledger.proof.tlog.tiles import reader
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint, sign_rotation
from ledger.tlog.tree import encode_tile
from tests.bundle_vectors_attested import attested_vectors
from tests.bundle_vectors_beside import beside_vectors
from tests.bundle_vectors_checks import FIRST, check_vectors
from tests.bundle_vectors_container import container_vectors, packed
from tests.bundle_vectors_proven import proven_vectors
from tests.bundle_vectors_selection import selection_vectors
from tests.bundle_vectors_single import single_vectors
from tests.bundle_vectors_steps import step_vectors
from tests.bundle_vectors_zip import Check, zip_checks
from tests.ledger.proof.bundle.bundles import Case, make_bundle, rehashed
from tests.ledger.proof.chains import ORIGIN, chain_of
from tests.vector_parts import ELSEWHERE, LOG, OTHER_LOG, Vector, flipped, vector

SIZE = 4
# A tree with a full tile of level 1, and tiles at the edge of each level.
DEEP = 256**2 + 256 + 44
RANGE = Selection("positions", first_position=1, last_position=SIZE)
THIRD = Selection("request", request=3)
LEAVES = leaf_hashes(event.hash for event in chain_of(SIZE))
# The key that LOG hands over to.
NEXT_LOG = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([5]) * 32))
THIEF = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes([6]) * 32))

Line = dict[str, Any]
# The result for somebody who trusts LOG: verdict, kind and position of the first finding.
Found = tuple[str, Kind | None, int]
GOOD: Found = ("verified", None, 0)
UNKNOWN: Found = ("consistent", None, 0)


def bad(wrong: Kind, position: int = 0) -> Found:
    """A failure."""
    return "failed", wrong, position


def bundle_vectors() -> Iterator[Vector]:
    """All of them."""
    whole = make_bundle(SIZE, RANGE, LOG)
    yield _vector("all of four events", whole, complete=True)
    yield _vector("all of four events, for somebody without a key", whole, UNKNOWN, keys=())
    yield _vector("one request, notes withheld", make_bundle(SIZE, THIRD, LOG, _third, withhold=lambda n: n == "notes"))
    first, *others = chain_of(SIZE)
    erased = [first._replace(salts=None, fields=None), *others]
    yield _vector("values of one event erased", make_bundle(SIZE, RANGE, LOG, events=erased))
    yield _vector("one request of 260 events, with a full tile", make_bundle(260, THIRD, LOG, _third))
    for name, change, found in ON_LINES:
        yield _changed(name, whole, lambda case, change=change: _edit(case, change), found)  # type: ignore[misc]
    for name, alter, found in ON_FILES:
        yield _changed(name, whole, alter, found)
    yield _changed("a tile: one bit", make_bundle(260, THIRD, LOG, _third), _tile_bit, bad(Kind.PROOF_MISMATCH, 1))
    yield _changed(
        "a tile: of another number", make_bundle(260, THIRD, LOG, _third), _tile_number, bad(Kind.PROOF_MISMATCH)
    )
    deep = make_bundle(SIZE, THIRD, LOG, _third, more=DEEP - SIZE)
    yield _vector("one request of 65,836 events, with a full tile of level 1", deep)
    yield _changed("a tile of level 1: one bit", deep, partial(_tile_bit, level=1), bad(Kind.PROOF_MISMATCH, 1))
    yield _vector("by another key", make_bundle(SIZE, RANGE, OTHER_LOG), bad(Kind.UNTRUSTED_KEY))
    for name, data, wrong, position, more in (*beside_vectors(whole, LOG), *single_vectors(LOG)):
        yield _vector(name, data, GOOD if wrong is None else bad(wrong, position), **more)
    yield from _older(whole)
    yield from _rotated()
    for name, data, wrong, position in container_vectors(whole):
        yield _bytes(name, data, GOOD if wrong is None else bad(wrong, position))
    for name, data, wrong, position in selection_vectors(LOG):
        yield _vector(name, data, GOOD if wrong is None else bad(wrong, position))
    for check in checks():
        yield _checked(check)


def checks() -> Iterator[Check]:
    """Bundles that one check alone refuses, after the one that most of them are made of."""
    whole = make_bundle(1, FIRST, LOG)
    yield Check("one request of one event", packed(whole), None, 0, "")
    yield from zip_checks(Case.read(whole).files)
    for check in (*check_vectors(LOG), *step_vectors(LOG), *proven_vectors(LOG), *attested_vectors(LOG)):
        yield check._replace(data=packed(check.data))


def _checked(check: Check) -> Vector:
    """The bundle as it is, or in the container of an export if it is sound."""
    name, data, kind, position, _, more = check
    keys = more.get("keys", (LOG,))
    found = (GOOD if keys else UNKNOWN) if kind is None else bad(kind, position)
    one = _bytes(name, data, found, **{**more, "keys": keys})
    return one | {"flaw": "no verdict"} if one["verdict"] == "none" else one


def _third(event: Any) -> bool:
    return bool(event.position == 3)


# --- events and values ------------------------------------------------------------------------------------------------


def _edited(line: Line) -> Line:
    return {**line, "body": line["body"].replace('"horizon_years":12', '"horizon_years":20')}


def _nth(nth: int, change: Callable[[Line], Line]) -> Callable[[list[Line]], list[Line]]:
    return lambda lines: [change(line) if at == nth else line for at, line in enumerate(lines, 1)]


def _swapped(*members: str) -> Callable[[list[Line]], list[Line]]:
    """Members of the first and the third event in each other's place."""

    def swap(lines: list[Line]) -> list[Line]:
        for name in members:
            lines[0][name], lines[2][name] = lines[2][name], lines[0][name]
        return lines

    return swap


def _put_in(lines: list[Line]) -> list[Line]:
    """An event made from the first one at position 2; the second and third one further, the fourth left out."""
    extra = rehashed(_edited({**lines[0], "position": 2, "prev_hash": lines[0]["hash"]}))
    return [lines[0], extra, *({**line, "position": line["position"] + 1} for line in lines[1:3])]


def _salt(line: Line) -> Line:
    salts = json.loads(line["salts"])
    changed = {name: salt[:-1] + ("0" if salt[-1] != "0" else "1") for name, salt in salts.items()}
    return {**line, "salts": json.dumps(changed, separators=(",", ":"), sort_keys=True)}


CONTENTS = ("version", "recorded_at_us", "prev_hash", "hash", "body", "fields", "salts")
ON_LINES: list[tuple[str, Callable[[list[Line]], list[Line]], Found]] = [
    ("an event dropped", lambda lines: [lines[0], *lines[2:]], bad(Kind.DELETED, 2)),
    ("the last event dropped", lambda lines: lines[:-1], bad(Kind.TRUNCATED, SIZE)),
    ("an event edited", _nth(2, _edited), bad(Kind.EDITED, 2)),
    ("an event edited, its hash recomputed", _nth(2, lambda line: rehashed(_edited(line))), bad(Kind.EDITED, 2)),
    ("the time of an event edited", _nth(2, lambda line: {**line, "recorded_at_us": 5}), bad(Kind.EDITED, 2)),
    ("an event put in, the others renumbered", _put_in, bad(Kind.INSERTED, 2)),
    ("an event twice", lambda lines: [*lines[:2], *lines[1:]], bad(Kind.INSERTED, 2)),
    ("two events in each other's place", _swapped(*CONTENTS), bad(Kind.REORDERED, 1)),
    ("two lines in each other's place", lambda lines: [lines[n] for n in (0, 2, 1, 3)], bad(Kind.REORDERED, 2)),
    ("sealed values of two swapped", _swapped("fields", "salts"), bad(Kind.COMMITMENT_MISMATCH, 1)),
    ("a sealed value edited", _nth(3, lambda line: {**line, "fields": line["fields"].replace("note", "Note")}),
     bad(Kind.COMMITMENT_MISMATCH, 3)),
    ("a salt changed", _nth(3, _salt), bad(Kind.COMMITMENT_MISMATCH, 3)),
]  # fmt: skip


# --- other members ----------------------------------------------------------------------------------------------------


def _edge(case: Case) -> None:
    case.files[bundle.EDGE] = flipped(case.files[bundle.EDGE])


def _tile_bit(case: Case, level: int = 0) -> None:
    name = bundle.tiles_name(level)
    tiles = case.files[name]
    case.files[name] = tiles[: INDEX.size] + flipped(tiles[INDEX.size :])


def _tile_number(case: Case) -> None:
    case.files["tiles/0"] = INDEX.pack(1) + case.files["tiles/0"][INDEX.size :]


def _signed_again(key: SigningKey, name: str = ORIGIN) -> Callable[[Case], None]:
    def sign(case: Case) -> None:
        case.files[bundle.CHECKPOINT] = sign_checkpoint(Checkpoint(name, SIZE, root_of(LEAVES)), key).encode()
        case.files[bundle.KEYS] = f"{key.verifier.text}\n".encode()

    return sign


def _posing(case: Case) -> None:
    """Signed by another key under the number of the log's."""
    (made,) = sign_checkpoint(Checkpoint(ORIGIN, SIZE, root_of(LEAVES)), THIEF).signatures
    posing = Signature(made.name, LOG.verifier.key_id, made.blob)
    case.files[bundle.CHECKPOINT] = Note(Checkpoint(ORIGIN, SIZE, root_of(LEAVES)).text, (posing,)).encode()


def _other_root(case: Case) -> None:
    other = Checkpoint(ORIGIN, SIZE, root_of(LEAVES[::-1]))
    case.files[bundle.CHECKPOINT] = sign_checkpoint(other, LOG).encode()


def _counted_wrong(case: Case) -> None:
    manifest = case.manifest
    manifest.fields["portfolio.requested.notes"]["withheld"] += 1
    case.files[bundle.MANIFEST] = manifest.encode()


ON_FILES: list[tuple[str, Callable[[Case], None], Found]] = [
    ("a hash of the edge", _edge, bad(Kind.PROOF_MISMATCH)),
    ("the checkpoint signed again by another key", _signed_again(OTHER_LOG), bad(Kind.UNTRUSTED_KEY)),
    ("a signature by another key under the log's key id", _posing, bad(Kind.BAD_SIGNATURE)),
    ("a checkpoint of another log", _signed_again(ELSEWHERE, ELSEWHERE.verifier.name), bad(Kind.OTHER_LEDGER)),
    ("a signed checkpoint of other events", _other_root, bad(Kind.PROOF_MISMATCH)),
    ("counts of the manifest", _counted_wrong, bad(Kind.SUMMARY_MISMATCH)),
]


# --- an older checkpoint ----------------------------------------------------------------------------------------------


def _proof(old: int) -> Sequence[bytes]:
    def fetch(tiles: Sequence[Any]) -> list[bytes]:
        return [encode_tile(LEAVES[: tile.width]) for tile in tiles]

    return consistency_proof(old, SIZE, reader(SIZE, fetch))


def _note(size: int, leaves: Sequence[bytes]) -> str:
    return sign_checkpoint(Checkpoint(ORIGIN, size, root_of(leaves[:size])), LOG).encode().decode()


def _older(whole: bytes) -> Iterator[Vector]:
    """With a checkpoint of three events that the reader holds, and the proof that theirs are the first of these."""

    def put(proof: Sequence[bytes]) -> Callable[[Case], None]:
        member = encode_consistency(3, [base64.b64encode(one).decode() for one in proof])
        return lambda case: case.files.update({bundle.CONSISTENCY: member})

    proof, kept = _proof(3), _note(3, LEAVES)
    yield _changed("extends an older checkpoint", whole, put(proof), GOOD, since=kept)
    for name, wrong in (
        ("the consistency proof: one bit", [flipped(proof[0]), *proof[1:]]),
        ("the consistency proof: one hash too few", proof[:-1]),
        ("the consistency proof: of other sizes", _proof(2)),
    ):
        yield _changed(name, whole, put(wrong), bad(Kind.FORKED), since=kept)
    yield _changed(
        "another history than the older checkpoint", whole, put(proof), bad(Kind.FORKED), since=_note(3, LEAVES[::-1])
    )
    later = [*LEAVES, LEAVES[0]]
    yield _changed("less than the older checkpoint", whole, put(proof), bad(Kind.ROLLED_BACK, 5), since=_note(5, later))


# --- rotations --------------------------------------------------------------------------------------------------------


def _statement(old: SigningKey, new: SigningKey, *signers: SigningKey) -> bytes:
    text = statement(old.verifier, new.verifier)
    return Note(text, tuple(key.sign(text) for key in signers)).encode()


def _rotated() -> Iterator[Vector]:
    """Signed by a key that the reader does not have; it has LOG."""
    theirs = make_bundle(SIZE, RANGE, NEXT_LOG)
    handed = _statement(LOG, NEXT_LOG, LOG, NEXT_LOG)
    twice = sign_rotation(LOG, THIEF).note + sign_rotation(THIEF, NEXT_LOG).note
    elsewhere = SigningKey(ELSEWHERE.verifier.name, Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32))
    for name, notes, found in (
        ("a rotation", handed, GOOD),
        ("two rotations", twice, GOOD),
        ("two rotations, the later one first", twice[len(handed) :] + twice[: len(handed)], GOOD),
        ("a rotation by the new key alone", _statement(LOG, NEXT_LOG, NEXT_LOG), bad(Kind.BAD_ROTATION)),
        ("a rotation by the new key twice", _statement(LOG, NEXT_LOG, NEXT_LOG, NEXT_LOG), bad(Kind.BAD_ROTATION)),
        (
            "a rotation by a stranger and the new key",
            _statement(LOG, NEXT_LOG, THIEF, NEXT_LOG),
            bad(Kind.BAD_ROTATION),
        ),
        ("a rotation of another log", sign_rotation(ELSEWHERE, elsewhere).note, bad(Kind.BAD_ROTATION)),
        ("a rotation from an unrelated key", sign_rotation(THIEF, NEXT_LOG).note, bad(Kind.UNTRUSTED_KEY)),
        ("a rotation backwards", sign_rotation(NEXT_LOG, LOG).note, bad(Kind.UNTRUSTED_KEY)),
    ):
        yield _changed(name, theirs, lambda case, notes=notes: case.files.update({bundle.ROTATIONS: notes}), found)  # type: ignore[misc]


# --- how a vector is written ------------------------------------------------------------------------------------------


def _edit(case: Case, change: Callable[[list[Line]], list[Line]]) -> None:
    case.lines = change(case.lines)


def _changed(name: str, data: bytes, change: Callable[[Case], None], found: Found = GOOD, **more: Any) -> Vector:
    case = Case.read(data)
    change(case)
    return _vector(name, case.write(), found, **more)


def _vector(name: str, data: bytes, found: Found = GOOD, **more: Any) -> Vector:
    return _bytes(name, packed(data), found, **more)


def _bytes(name: str, data: bytes, found: Found, keys: Sequence[SigningKey] = (LOG,), **more: Any) -> Vector:
    """The bundle is written by `share`. `more` are members that few vectors have: `since`, `witnesses`, `needs`."""
    verdict, wrong, position = found
    trusted = [key.verifier.text for key in keys]
    where = {"verdict": verdict, "position": position} if wrong is not None else {"verdict": verdict}
    return vector(name, wrong, keys=trusted, **{**where, **more}) | {"bundle": data}
