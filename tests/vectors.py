"""`python -m tests.vectors`, or `make vectors`: writes docs/vectors, the same bytes on every machine.

Keys, salts and events are fixed. What is wrong with a broken vector is stated here and not asked of our checkers;
tests/test_vectors.py holds them to it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import SEALED_PREFIX, commitment, genesis_hash
from ledger.proof.tlog.checkpoint import Checkpoint, CheckpointFlaw
from ledger.proof.tlog.merkle import ProofFlaw, consistency_proof, inclusion_proof, leaf_hashes, root_of
from ledger.proof.tlog.note import Note, NoteFlaw, Signature
from ledger.proof.tlog.tiles import EntryBundle, TileFlaw, reader
from ledger.proof.tlog.tlog_proof import TlogProof, TlogProofFlaw
from ledger.tlog.add_checkpoint import AddCheckpoint, RequestFlaw
from ledger.tlog.serve.proof_file import encode_proof
from ledger.tlog.serve.tile_path import parse_path
from ledger.tlog.signing_keys import sign_checkpoint
from ledger.tlog.tree import encode_entries, encode_tile, tiles_of
from tests.act_vectors import act_vectors
from tests.attestation_vectors import attestation_vectors
from tests.bundle_vectors import bundle_vectors
from tests.ledger.proof.chain import tampering
from tests.ledger.proof.chains import ORIGIN, chain_of, head_of
from tests.ledger.proof.chains import rehashed as rehashed_row
from tests.paths import DOCS
from tests.sample_vectors import sample_vectors
from tests.vector_parts import ELSEWHERE, LOG, OTHER_LOG, TIME_S, WITNESS, Vector, flipped, plain, vector
from tests.vector_sharing import share

FOLDER = DOCS / "vectors"

ENTRIES = [sha256(b"event %d" % number).digest() for number in range(1, 301)]
LEAVES = leaf_hashes(ENTRIES)
EVENTS = list(chain_of(4))


def main() -> None:
    """Writes every file, and removes those that are not made any more."""
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, data in made.items():
        (FOLDER / name).write_bytes(data)


def files() -> dict[str, bytes]:
    """Each file's name and bytes."""
    return {f"{name}.json": _lines(where, list(make())) for name, (where, make) in MAKERS.items()}


def _lines(where: str, found: Sequence[Vector]) -> bytes:
    """One vector a line."""
    head = json.dumps({"format": where, "vectors": []})[:-2]
    return (head + "\n" + ",\n".join(map(json.dumps, found)) + "\n]}\n").encode()


# --- canonical JSON and commitments -----------------------------------------------------------------------------------

VALUES = {
    "members in order": '{"b":1,"a":2}',
    "members in order of UTF-16": '{"\\ue000":1,"\\ud83d\\ude00":2}',
    "white space": ' { "a" : [ 1 , 2 ] } ',
    "escapes": '"\\u00e9\\u000f\\n\\"\\\\/\\u007f"',
    "fractions": "[0.5,1.0,1e-7,0.000001,100,4.50]",
    "negative zero": "-0.0",
    "largest integer": "[9007199254740991,-9007199254740991]",
    "literals": "[null,true,false,[],{}]",
    "depth 64": "[" * 64 + "]" * 64,
}
REFUSED = {
    "integer too large": ("integer", "9007199254740993"),
    "integer too large, with an exponent": ("integer", "1e21"),
    "integer too large, deep inside": ("integer", '{"a":[{"b":-9007199254740992}]}'),
    "U+0000": ("null character", '"\\u0000"'),
    "U+0000 in a name": ("null character", '{"a\\u0000":1}'),
    "lone surrogate": ("surrogate", '"\\ud800"'),
    "depth 65": ("depth", "[" * 65 + "]" * 65),
}
MALFORMED = {
    "white space": '{"a": 1}',
    "members out of order": '{"b":1,"a":2}',
    "a member twice": '{"a":1,"a":1}',
    "an escape that is not needed": '{"a":"\\u0041"}',
    "no object": "[1]",
    "no JSON": "{",
    "more after the end": "{}{}",
}


def canonical_vectors() -> Iterator[Vector]:
    """Values with their canonical form, values that a writer refuses, and texts that are not canonical bodies."""
    for name, text in VALUES.items():
        yield vector(name, json=text, canonical=canonical(json.loads(text)).decode())
    for name, (flaw, text) in REFUSED.items():
        yield vector(f"refused: {name}", flaw, json=text)
    for name, text in MALFORMED.items():
        yield vector(f"body: {name}", Kind.MALFORMED, body=text)


SALT = bytes(range(32))


def commitment_vectors() -> Iterator[Vector]:
    """The bytes that are hashed for a sealed value, and values that do not open a commitment."""
    for name, value in {
        "client_id": '"client-1"',
        "recommendation": '{"equity":"0.60","note":"Zürich \\"60/40\\""}',
        "notes": "null",
    }.items():
        text = value.encode()
        hashed = SEALED_PREFIX + SALT + b'["' + name.encode() + b'",' + text + b"]"
        digest = commitment(name, SALT, text)
        yield vector(name, field=name, salt=SALT, value=value, input=hashed, commitment=digest)
        bad = Kind.COMMITMENT_MISMATCH
        yield vector(f"{name}: salt", bad, field=name, salt=flipped(SALT), value=value, commitment=digest)
        yield vector(f"{name}: value", bad, field=name, salt=SALT, value='"other"', commitment=digest)
        yield vector(f"{name}: name", bad, field="other", salt=SALT, value=value, commitment=digest)


# --- the chain --------------------------------------------------------------------------------------------------------


def chain_vectors() -> Iterator[Vector]:
    """A ledger of four events, and what can be done to it. `position` is where it is found."""
    yield _chain("empty", [], head_of([]))
    yield _chain("four events", EVENTS, head_of(EVENTS))
    erased = [EVENTS[0]._replace(salts=None, fields=None), *EVENTS[1:]]
    yield _chain("one value erased", erased, head_of(EVENTS))
    for name, tamper, kind, position in ATTACKS:
        rows = list(EVENTS)
        head = tamper(rows, head_of(EVENTS))
        yield _chain(name, sorted(rows, key=lambda row: row.position), head, kind, position)
    swapped = list(EVENTS)
    for here, there in ((1, 3), (3, 1)):
        swapped[here] = EVENTS[here]._replace(salts=EVENTS[there].salts, fields=EVENTS[there].fields)
    yield _chain("sealed values of two swapped", swapped, head_of(EVENTS), Kind.COMMITMENT_MISMATCH, 2)


def _decreasing(events: list[EventRow], head: Head) -> Head | None:
    """Position 4 and all after it recorded anew, with position 4 before position 3."""
    link = events[2].hash
    for index in range(3, len(events)):
        time_us = 5 if index == 3 else events[index].recorded_at_us
        events[index] = rehashed_row(events[index]._replace(prev_hash=link, recorded_at_us=time_us))
        link = events[index].hash
    return head_of(events)


ATTACKS: list[tuple[str, Callable[[list[EventRow], Head], Head | None], Kind, int]] = [
    ("body edited", tampering.change(3, body=tampering.thief), Kind.EDITED, 3),
    ("body edited, hash recomputed", tampering.change(3, rehash=True, body=tampering.thief), Kind.EDITED, 3),
    ("type edited", tampering.change(3, type="portfolio.approved"), Kind.COLUMN_MISMATCH, 3),
    ("deleted", tampering.delete(3, 3), Kind.DELETED, 3),
    ("inserted", tampering.insert(3), Kind.INSERTED, 3),
    ("rows swapped", tampering.swap_rows(2, 4), Kind.REORDERED, 2),
    ("tail cut", tampering.delete(4, 4), Kind.TRUNCATED, 4),
    ("hash of the head edited", tampering.set_head(hash=bytes(32)), Kind.HEAD_MISMATCH, 4),
    ("origin edited", tampering.set_head(origin="ledger.example/two"), Kind.GENESIS_MISMATCH, 1),
    ("recorded before the one before", _decreasing, Kind.TIME_DECREASING, 4),
]


def _chain(
    name: str, rows: Sequence[EventRow], head: Head | None, flaw: Kind | None = None, position: int = 0
) -> Vector:
    assert head is not None
    told = {"origin": head.origin, "position": head.position, "hash": head.hash.hex(), "time_us": head.recorded_at_us}
    events = [{key: value for key, value in _row(row).items() if value is not None} for row in rows]
    more = {} if flaw is None else {"position": position}
    return vector(name, flaw, genesis_hash=genesis_hash(head.origin), head=told, events=events, **more)


def _row(row: EventRow) -> dict[str, Any]:
    texts = {"body", "salts", "fields"}
    return {
        key: value.decode() if key in texts and value is not None else plain(value)
        for key, value in row._asdict().items()
    }


# --- the tree ---------------------------------------------------------------------------------------------------------


def _nodes(size: int) -> Any:
    return reader(size, lambda tiles: [_content(tile.level, tile.index, tile.width) for tile in tiles])


def _content(level: int, index: int, width: int) -> bytes:
    row = LEAVES
    for _ in range(level):
        row = [root_of(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
    return encode_tile(row[index * 256 : index * 256 + width])


def root_vectors() -> Iterator[Vector]:
    """Roots over the first entries, SHA-256 of `event 1`, `event 2`…"""
    for size in (*range(22), 255, 256, 257, 300):
        yield vector(f"size {size}", size=size, root=root_of(LEAVES[:size]))


def inclusion_vectors() -> Iterator[Vector]:
    """A proof for an entry, which is an event hash."""
    for index, size in ((0, 1), (0, 2), (1, 2), (2, 3), (0, 8), (5, 8), (6, 7), (16, 21), (20, 21), (299, 300)):
        yield _inclusion(f"{index} in {size}", None, index, size)
    proof = inclusion_proof(5, 8, _nodes(8))
    yield _inclusion("a bit of the proof", ProofFlaw.ROOT, 5, 8, proof=[flipped(proof[0]), *proof[1:]])
    yield _inclusion("a bit of the entry", ProofFlaw.ROOT, 5, 8, entry=flipped(ENTRIES[5]))
    yield _inclusion("a bit of the root", ProofFlaw.ROOT, 5, 8, root=flipped(root_of(LEAVES[:8])))
    yield _inclusion("for another index", ProofFlaw.ROOT, 4, 8, proof=proof, entry=ENTRIES[5])
    yield _inclusion("for another size", ProofFlaw.ROOT, 5, 7, proof=proof)
    yield _inclusion("one element too few", ProofFlaw.LENGTH, 5, 8, proof=proof[:-1])
    yield _inclusion("one element too many", ProofFlaw.LENGTH, 5, 8, proof=[*proof, proof[0]])
    yield _inclusion("an element of 31 bytes", ProofFlaw.HASH, 5, 8, proof=[proof[0][:31], *proof[1:]])
    yield _inclusion("outside the tree", ProofFlaw.INDEX, 8, 8, proof=proof)
    yield _inclusion("in an empty tree", ProofFlaw.INDEX, 0, 0, proof=[])


def _inclusion(name: str, flaw: ProofFlaw | None, index: int, size: int, **given: Any) -> Vector:
    proof = given.get("proof") if "proof" in given else inclusion_proof(index, size, _nodes(size))
    root = given.get("root", root_of(LEAVES[:size]))
    return vector(name, flaw, index=index, size=size, entry=given.get("entry", ENTRIES[index]), proof=proof, root=root)


def consistency_vectors() -> Iterator[Vector]:
    """Between roots of the same entries."""
    for old, new in ((1, 1), (1, 2), (2, 3), (3, 7), (4, 8), (6, 8), (7, 7), (8, 21), (20, 21), (256, 300), (257, 300)):
        yield _consistency(f"{old} to {new}", None, old, new)
    proof = consistency_proof(6, 8, _nodes(8))
    yield _consistency("a bit of the proof", ProofFlaw.OLD_ROOT, 6, 8, proof=[flipped(proof[0]), *proof[1:]])
    yield _consistency("a bit of the old root", ProofFlaw.OLD_ROOT, 6, 8, old_root=flipped(root_of(LEAVES[:6])))
    yield _consistency("a bit of the new root", ProofFlaw.NEW_ROOT, 6, 8, new_root=flipped(root_of(LEAVES[:8])))
    yield _consistency("one size, two roots", ProofFlaw.NEW_ROOT, 7, 7, new_root=flipped(root_of(LEAVES[:7])))
    yield _consistency("one element too few", ProofFlaw.LENGTH, 6, 8, proof=proof[:-1])
    yield _consistency("one element too many", ProofFlaw.LENGTH, 6, 8, proof=[*proof, proof[0]])
    yield _consistency("a proof where none belongs", ProofFlaw.LENGTH, 7, 7, proof=proof[:1])
    yield _consistency("an element of 33 bytes", ProofFlaw.HASH, 6, 8, proof=[proof[0] + b"\0", *proof[1:]])
    yield _consistency("from an empty tree", ProofFlaw.SIZES, 0, 8, proof=[])
    yield _consistency("backwards", ProofFlaw.SIZES, 8, 6, proof=proof)


def _consistency(name: str, flaw: ProofFlaw | None, old: int, new: int, **given: Any) -> Vector:
    proof = given.get("proof") if "proof" in given else consistency_proof(old, new, _nodes(new))
    roots = given.get("old_root", root_of(LEAVES[:old])), given.get("new_root", root_of(LEAVES[:new]))
    return vector(name, flaw, old=old, new=new, proof=proof, old_root=roots[0], new_root=roots[1])


PATHS = {
    "tile/00/000": TileFlaw.PATH,
    "tile/0/0": TileFlaw.PATH,
    "tile/0/1000": TileFlaw.PATH,
    "tile/0/x000/001": TileFlaw.PATH,
    "tile/0/000.p/0": TileFlaw.PATH,
    "tile/0/000.p/256": TileFlaw.PATH,
    "tile/0/000.p/01": TileFlaw.PATH,
    "tile/-1/000": TileFlaw.PATH,
    "tile/0/../000": TileFlaw.PATH,
    "tile/6/000": None,
    "tile/7/000": TileFlaw.RANGE,
    "tile/64/000": TileFlaw.RANGE,
    "tile/0/x001/x234/067": None,
    "tile/entries/x001/000.p/17": None,
}


def tile_vectors() -> Iterator[Vector]:
    """All tiles of a tree of 300 by their paths, an entry bundle, and paths and contents to refuse."""
    for tile in tiles_of(300):
        yield vector(tile.path, path=tile.path, content=_content(tile.level, tile.index, tile.width))
    entries = EntryBundle(1, 44)
    content = encode_entries(ENTRIES[256:])
    yield vector(entries.path, path=entries.path, content=content)
    for path, flaw in PATHS.items():
        yield vector(f"path {path}", flaw, path=path)
    partial = parse_path("tile/1/000.p/1")
    yield vector("a hash too many", TileFlaw.CONTENT, path=partial.path, content=bytes(64))
    yield vector("a byte too few", TileFlaw.CONTENT, path=partial.path, content=bytes(31))
    yield vector("entries cut short", TileFlaw.BUNDLE, path=entries.path, content=content[:-1])
    yield vector("an entry too many", TileFlaw.BUNDLE, path=entries.path, content=content + encode_entries(ENTRIES[:1]))


# --- notes ------------------------------------------------------------------------------------------------------------

SIGNED = sign_checkpoint(Checkpoint(ORIGIN, 8, root_of(LEAVES[:8])), LOG)
COSIGNED = SIGNED.add([WITNESS.cosign(SIGNED.text, TIME_S)])


def checkpoint_vectors() -> Iterator[Vector]:
    """Notes, opened with `key` (and `witness`) for `origin`."""
    root = SIGNED.text.splitlines()[2]
    yield _note("signed", None, SIGNED.encode(), size=8, root=root_of(LEAVES[:8]))
    empty = sign_checkpoint(Checkpoint(ORIGIN, 0, root_of([])), LOG).encode()
    yield _note("of an empty tree", None, empty, size=0, root=root_of([]))
    extended = _signed(f"{ORIGIN}\n8\n{root}\nextension line\n")
    yield _note("with an extension line", None, extended, size=8, root=root_of(LEAVES[:8]))
    unknown = SIGNED.add(sign_checkpoint(Checkpoint(ELSEWHERE.verifier.name, 8, bytes(32)), ELSEWHERE).signatures)
    yield _note("and by an unknown key", None, unknown.encode(), size=8, root=root_of(LEAVES[:8]))
    text = SIGNED.encode()
    for name, flaw, note in (
        ("another size", NoteFlaw.BAD_SIGNATURE, text.replace(b"\n8\n", b"\n9\n")),
        ("another origin", NoteFlaw.BAD_SIGNATURE, text.replace(ORIGIN.encode() + b"\n8", b"another\n8")),
        ("by another key", NoteFlaw.UNSIGNED, sign_checkpoint(Checkpoint(ORIGIN, 8, bytes(32)), OTHER_LOG).encode()),
        ("by another key under our key id", NoteFlaw.BAD_SIGNATURE, _posing().encode()),
        ("no signature", NoteFlaw.STRUCTURE, SIGNED.text.encode() + b"\n"),
        ("no empty line", NoteFlaw.STRUCTURE, text.replace(b"\n\n", b"\n")),
        ("a tab", NoteFlaw.CHARACTERS, text.replace(b"\n8\n", b"\n8\t\n")),
        ("not UTF-8", NoteFlaw.CHARACTERS, text.replace(b"\n8\n", b"\n\xff\n")),
        ("a hyphen for the dash", NoteFlaw.SIGNATURE_LINE, text.replace("\u2014".encode(), b"-")),
        ("no padding", NoteFlaw.SIGNATURE_LINE, text.rstrip(b"\n").rstrip(b"=") + b"\n"),
        ("size with a leading zero", CheckpointFlaw.SIZE, _signed(f"{ORIGIN}\n08\n{root}\n")),
        ("size beyond 2^63 - 1", CheckpointFlaw.SIZE, _signed(f"{ORIGIN}\n9223372036854775808\n{root}\n")),
        ("root of 31 bytes", CheckpointFlaw.ROOT, _signed(f"{ORIGIN}\n8\n{base64.b64encode(bytes(31)).decode()}\n")),
        ("another root of no events", CheckpointFlaw.EMPTY, _signed(f"{ORIGIN}\n0\n{root}\n")),
        ("two lines", CheckpointFlaw.LINES, _signed(f"{ORIGIN}\n8\n")),
        ("an empty line in it", CheckpointFlaw.LINES, _signed(f"{ORIGIN}\n8\n{root}\n\nmore\n")),
        ("of another origin, by our key", CheckpointFlaw.ORIGIN, _signed(f"another\n8\n{root}\n")),
    ):
        yield _note(name, flaw, note)


def cosignature_vectors() -> Iterator[Vector]:
    """The same with a witness's cosignature, of which `time_s` is the time."""
    text = COSIGNED.encode()
    mine = COSIGNED.signatures[1]
    known = {"witness": WITNESS.verifier.text}
    yield _note("cosigned", None, text, **known, time_s=TIME_S)
    for name, flaw, note in (
        ("another time", NoteFlaw.BAD_SIGNATURE, _with(mine._replace(blob=flipped(mine.blob)))),
        ("a bit of the signature", NoteFlaw.BAD_SIGNATURE, _with(mine._replace(blob=mine.blob[:-1] + b"\0"))),
        ("without the time", NoteFlaw.BAD_SIGNATURE, _with(mine._replace(blob=mine.blob[8:]))),
        ("only cosigned", NoteFlaw.UNSIGNED, Note(SIGNED.text, (mine,)).encode()),
    ):
        yield _note(name, flaw, note, **known)


def request_vectors() -> Iterator[Vector]:
    """Bodies of add-checkpoint."""
    proof = tuple(consistency_proof(6, 8, _nodes(8)))
    good = AddCheckpoint(6, proof, SIGNED.encode()).encode()
    yield vector("from 6 to 8", request=good.decode(), old=6, proof=list(proof))
    yield vector("the first", request=AddCheckpoint(0, (), SIGNED.encode()).encode().decode(), old=0, proof=[])
    line = base64.b64encode(proof[0])
    for name, flaw, body in (
        ("no old size", RequestFlaw.OLD_SIZE, good.replace(b"old 6\n", b"")),
        ("a leading zero", RequestFlaw.OLD_SIZE, good.replace(b"old 6", b"old 06")),
        ("a hash cut short", RequestFlaw.PROOF, good.replace(line, line[:-4])),
        ("64 hashes", RequestFlaw.PROOF, b"old 6\n" + (line + b"\n") * 64 + b"\n" + SIGNED.encode()),
        ("no empty line", RequestFlaw.STRUCTURE, b"old 6\n"),
    ):
        yield vector(name, flaw, request=body.decode())


def proof_vectors() -> Iterator[Vector]:
    """Files of type tlog-proof, verified for `entry`."""
    path = tuple(inclusion_proof(5, 8, _nodes(8)))
    good = encode_proof(TlogProof(5, path, COSIGNED.encode()))
    yield _proof("index 5", None, good)
    yield _proof("with extra", None, encode_proof(TlogProof(5, path, COSIGNED.encode(), b"anything")))
    for name, flaw, data in (
        ("another version", TlogProofFlaw.HEADER, good.replace(b"@v1", b"@v2")),
        ("a leading zero", TlogProofFlaw.INDEX, good.replace(b"index 5", b"index 05")),
        ("another index", ProofFlaw.ROOT, good.replace(b"index 5", b"index 4")),
        ("an index outside the tree", ProofFlaw.INDEX, good.replace(b"index 5", b"index 8")),
        ("a hash too few", ProofFlaw.LENGTH, encode_proof(TlogProof(5, path[1:], COSIGNED.encode()))),
        ("a hash cut short", TlogProofFlaw.PATH, good.replace(base64.b64encode(path[0]), b"AAAA")),
        ("extra that is empty", TlogProofFlaw.EXTRA, good.replace(b"index 5", b"extra \nindex 5")),
        ("a size that nobody signed", NoteFlaw.BAD_SIGNATURE, good.replace(b"\n8\n", b"\n9\n")),
        ("no checkpoint", TlogProofFlaw.STRUCTURE, good.partition(b"\n\n")[0] + b"\n"),
    ):
        yield _proof(name, flaw, data)
    yield _proof("another event", ProofFlaw.ROOT, good, entry=ENTRIES[6])


def _note(name: str, flaw: str | None, note: bytes, **members: Any) -> Vector:
    """A note as base64: not all are text."""
    opened = {"origin": ORIGIN, "key": LOG.verifier.text, "note": base64.b64encode(note).decode()}
    return vector(name, flaw, **opened, **members)


def _signed(text: str) -> bytes:
    return Note(text, (LOG.sign(text),)).encode()


def _posing() -> Note:
    (made,) = sign_checkpoint(Checkpoint(ORIGIN, 8, bytes(32)), OTHER_LOG).signatures
    return Note(Checkpoint(ORIGIN, 8, bytes(32)).text, (made._replace(key_id=LOG.verifier.key_id),))


def _with(signature: Signature) -> bytes:
    return Note(SIGNED.text, (*SIGNED.signatures, signature)).encode()


def _proof(name: str, flaw: str | None, data: bytes, entry: bytes = ENTRIES[5]) -> Vector:
    keys = {"origin": ORIGIN, "key": LOG.verifier.text, "witness": WITNESS.verifier.text}
    return vector(name, flaw, **keys, entry=entry, proof=data.decode())


MAKERS: dict[str, tuple[str, Callable[[], Iterator[Vector]]]] = {
    "canonical": ("formats/event.md section 2", canonical_vectors),
    "commitments": ("formats/event.md section 3", commitment_vectors),
    "chains": ("formats/event.md sections 4 and 5", chain_vectors),
    "roots": ("formats/tlog.md section 2", root_vectors),
    "inclusion": ("formats/tlog.md section 2", inclusion_vectors),
    "consistency": ("formats/tlog.md section 2", consistency_vectors),
    "tiles": ("formats/tlog.md section 3", tile_vectors),
    "checkpoints": ("formats/tlog.md sections 4 and 5", checkpoint_vectors),
    "cosignatures": ("formats/tlog.md section 6", cosignature_vectors),
    "requests": ("formats/tlog.md section 7", request_vectors),
    "tlog-proofs": ("formats/tlog.md section 8", proof_vectors),
    "bundles": ("formats/bundle.md", lambda: share(bundle_vectors())),
    "acts": ("formats/signed-acts.md", act_vectors),
    "attestations": ("formats/bundle.md#13-attestations", attestation_vectors),
    "samples": ("formats/samples.md", sample_vectors),
}


if __name__ == "__main__":
    main()
