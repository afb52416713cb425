"""Bundles for each check of docs/formats/bundle.md that no other vector is alone for; see also bundle_vectors_zip.py.

Each is made of a good bundle and differs in one thing. The attacker is careful: page, counts and digests of the
manifest fit what was changed, where it is not about these.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

from ledger.export.bundle_writer import encode_consistency
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.tiles import INDEX
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.tlog.signing_keys import SigningKey
from tests.bundle_vectors_zip import Check
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.vector_parts import flipped

FIRST = Selection("request", request=1)
Change = Callable[[Case], None]
# Name, change, kind and position of the finding, and words of it.
Row = tuple[str, Change, Kind | None, int, str]
LIMIT = 1 << 20


def check_vectors(key: SigningKey) -> Iterator[Check]:
    """All of them. `key` is that of the transparency log."""
    whole = make_bundle(1, FIRST, key)
    for name, change, kind, position, words in (*MANIFESTS, *LINES, *MEMBERS, *LIMITS):
        yield Check(name, changed(whole, change), kind, position, words)
    yield from _of_manifest_and_ranges(key)


def changed(data: bytes, change: Change) -> bytes:
    """Return the bundle with one change, and nothing else made to fit."""
    case = Case.read(data)
    change(case)
    return case.write(careful=False)


# --- section 2 --------------------------------------------------------------------------------------------------------


def _raw(**members: Any) -> Change:
    """Put other members in the manifest, also those that no reader takes; None takes one out."""

    def change(case: Case) -> None:
        merged = {**json.loads(case.files[bundle.MANIFEST]), **members}
        case.files[bundle.MANIFEST] = canonical({name: each for name, each in merged.items() if each is not None})

    return change


def _fitting(**members: Any) -> Change:
    """Change the manifest; the page fits."""

    def change(case: Case) -> None:
        case.files[bundle.MANIFEST] = replace(case.manifest, **members).encode()
        case.write()

    return change


def _listed(name: str, entry: dict[str, Any] | None) -> Change:
    def change(case: Case) -> None:
        files = {**json.loads(case.files[bundle.MANIFEST])["files"], name: entry}
        _raw(files={each: value for each, value in files.items() if value is not None})(case)

    return change


def _other_size(case: Case) -> None:
    files = json.loads(case.files[bundle.MANIFEST])["files"]
    _listed(bundle.KEYS, {**files[bundle.KEYS], "size": files[bundle.KEYS]["size"] + 1})(case)


def _spaced(case: Case) -> None:
    case.files[bundle.MANIFEST] = case.files[bundle.MANIFEST].replace(b",", b", ", 1)


def _last_position(case: Case) -> None:
    _raw(events={"count": 1, "first_position": 1, "last_position": 2})(case)


def _stamped(file: str, *, member: bool) -> Change:
    """List a timestamp in the manifest, and put it into the bundle or not."""

    def change(case: Case) -> None:
        if member:
            case.files[bundle.stamp_name(1)] = sha256(bundle.as_signed(case.files[bundle.CHECKPOINT])).digest()
        _fitting(timestamps=("https://tsa.example/",))(case)
        if file != bundle.stamp_name(1):
            _raw(timestamps=[{"file": file, "authority": "https://tsa.example/"}])(case)

    return change


def _offset(seconds: object) -> dict[str, Any]:
    return {"name": "X/Y", "offsets": [{"from_us": 0, "offset_s": seconds}]}


A_FILE = {"size": 1, "sha256": "00" * 32}
DAMAGED, MISMATCH, SUMMARY = Kind.DAMAGED, Kind.FILE_MISMATCH, Kind.SUMMARY_MISMATCH
MANIFESTS: list[Row] = [
    ("another format", _raw(format="advice-ledger/bundle/v1"), DAMAGED, 0, "where advice-ledger/bundle/v2 is read"),
    ("a manifest with white space", _spaced, DAMAGED, 0, "malformed manifest"),
    ("a manifest without a member", _raw(excluded=None), DAMAGED, 0, "'excluded' is missing"),
    ("a time that is negative", _raw(created_at_us=-5), DAMAGED, 0, "the number -5"),
    ("a time that is no integer", _raw(created_at_us=1.5), DAMAGED, 0, "another type"),
    ("a size as text", _raw(checkpoint_size="1"), DAMAGED, 0, "another type"),
    ("a zone without a name", _raw(zone={"offsets": []}), DAMAGED, 0, "'name' is missing"),
    ("an offset of a day", _raw(zone=_offset(86_400)), DAMAGED, 0, "an offset that no time zone has"),
    ("an offset that is a text", _raw(zone=_offset("1")), DAMAGED, 0, "an offset that no time zone has"),
    ("offsets out of order", _raw(zone={"name": "X", "offsets": _offset(1)["offsets"] * 2}), DAMAGED, 0, "time zone"),
    ("a member that no selection has", _raw(selection={"kind": "request", "request": 1, "x": 1}), DAMAGED, 0, "member"),
    ("a selection of another kind", _raw(selection={"kind": "all"}), DAMAGED, 0, "selection of the kind"),
    ("another size of the checkpoint", _fitting(checkpoint_size=2), SUMMARY, 0, "the manifest does not agree"),
    ("another origin", _fitting(origin="elsewhere.example/log"), Kind.OTHER_LEDGER, 0, "the manifest is of"),
    ("another last position", _last_position, SUMMARY, 0, "the manifest does not agree"),
    ("excluded events that the checkpoint covers", _fitting(excluded=1, excluded_from=1), SUMMARY, 0, "excludes 1"),
    ("no excluded events, from a position on", _fitting(excluded_from=2), SUMMARY, 0, "excludes 0 events from 2"),
    ("another size of a file", _other_size, MISMATCH, 0, "keys.txt is not the file"),
    ("a file that only the manifest has", _listed(bundle.tiles_name(0), A_FILE), MISMATCH, 0, "tiles/0"),
    ("a file that the manifest does not list", _listed(bundle.KEYS, None), MISMATCH, 0, "keys.txt"),
    ("a timestamp", _stamped(bundle.stamp_name(1), member=True), None, 0, ""),
    ("a timestamp that only the manifest has", _stamped(bundle.stamp_name(1), member=False), MISMATCH, 0, "timestamps"),
    ("a timestamp with another name", _stamped(bundle.stamp_name(2), member=True), DAMAGED, 0, "members"),
]  # fmt: skip


def _of_manifest_and_ranges(key: SigningKey) -> Iterator[Check]:
    two = make_bundle(2, Selection("positions", first_position=1, last_position=2), key)
    begins = {"kind": "positions", "first_position": 0, "last_position": 2}
    yield Check("a range that begins at 0", changed(two, _raw(selection=begins)), DAMAGED, 0, "positions 0 to 2")
    longer = Selection("positions", first_position=1, last_position=5)
    for name, excluded in (("from another position on", (3, 4)), ("too few", (2, 3))):
        data = changed(two, _fitting(selection=longer, excluded=excluded[0], excluded_from=excluded[1]))
        yield Check(f"excluded positions, {name}", data, SUMMARY, 0, "the manifest excludes")
    second = Selection("positions", first_position=2, last_position=2)
    yield Check("a position that was not selected", changed(two, _fitting(selection=second)), Kind.INSERTED, 1, "asked")


# --- section 3 --------------------------------------------------------------------------------------------------------


def _line(change: Callable[[dict[str, Any]], dict[str, Any]], *, fit: bool = False) -> Change:
    """Change the one line; `fit`: the manifest counts names as if it were sound."""

    def alter(case: Case) -> None:
        case.lines = [change(line) for line in case.lines]
        if fit:
            case.write()
        else:
            _digests(case)

    return alter


def _with(**members: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda line: {name: each for name, each in {**line, **members}.items() if each is not None}


def _text(change: Callable[[bytes], bytes]) -> Change:
    def alter(case: Case) -> None:
        case.files[bundle.EVENTS] = change(case.files[bundle.EVENTS])
        _digests(case)

    return alter


def _digests(case: Case) -> None:
    """Make sizes and digests of the manifest fit."""
    files = {name: data for name, data in case.files.items() if name != bundle.MANIFEST}
    listed = {name: {"size": len(data), "sha256": sha256(data).hexdigest()} for name, data in files.items()}
    _raw(files=listed)(case)


def _another_value(line: dict[str, Any]) -> dict[str, Any]:
    fields, salts = json.loads(line["fields"]), json.loads(line["salts"])
    return {
        **line,
        "fields": canonical({**fields, "notes": "x"}).decode(),
        "salts": canonical({**salts, "notes": "00" * 32}).decode(),
    }


def _large(name: str, count: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda line: {**line, name: "x" * count}


EDITED, SEALED = Kind.EDITED, Kind.COMMITMENT_MISMATCH
LINES: list[Row] = [
    ("the last line without its end", _text(lambda data: data[:-1]), DAMAGED, 0, "ends within a line"),
    ("a line with white space", _text(lambda data: data.replace(b',"hash"', b', "hash"')), DAMAGED, 0, "canonical"),
    ("an empty line", _text(lambda data: data + b"\n"), DAMAGED, 1, "not JSON"),
    ("a line without a member", _line(_with(version=None)), DAMAGED, 0, "'version' is missing"),
    ("a position as text", _line(_with(position="1")), DAMAGED, 0, "malformed number"),
    ("a version that is no integer", _line(_with(version=1.5)), DAMAGED, 0, "malformed number"),
    ("a hash of 31 bytes", _line(_with(hash="00" * 31)), DAMAGED, 0, "malformed hash"),
    ("a hash in capitals", _line(lambda line: {**line, "hash": line["hash"].upper()}), DAMAGED, 0, "malformed hash"),
    ("values without salts", _line(_with(salts=None)), DAMAGED, 0, "'salts' is missing"),
    ("salts without values", _line(_with(fields=None)), DAMAGED, 0, "other members"),
    ("withheld names twice", _line(_with(withheld=["notes", "notes"])), DAMAGED, 0, "malformed withheld names"),
    ("an empty list of withheld names", _line(_with(withheld=[])), DAMAGED, 0, "malformed withheld names"),
    ("a name withheld and disclosed", _line(_with(withheld=["client_id"]), fit=True), SEALED, 1, "marked withheld"),
    ("a name withheld without a commitment", _line(_with(withheld=["notes"]), fit=True), SEALED, 1, "marked withheld"),
    ("a value without a commitment", _line(_another_value, fit=True), SEALED, 1, "without a commitment: notes"),
    ("values with white space",
     _line(lambda line: {**line, "fields": line["fields"].replace(":", ": ")}, fit=True), SEALED, 1, "canonical form"),
    ("a version that no event has", _line(_with(version=-1)), EDITED, 1, "was changed"),
    ("another version", _line(_with(version=2)), EDITED, 1, "was changed"),
    ("another hash of the event before", _line(_with(prev_hash="00" * 32)), EDITED, 1, "was changed"),
    ("a position beyond the checkpoint", _line(_with(position=2)), Kind.INSERTED, 2, "covers positions 1 to 1"),
    ("a body beyond the limit", _line(_large("body", LIMIT + 1)), DAMAGED, 0, "a body of more than"),
    ("values beyond the limit", _line(_large("fields", 8 * LIMIT + 1000)), DAMAGED, 0, "values that are too large"),
]  # fmt: skip


# --- sections 4 to 6, and the limits of section 8 ---------------------------------------------------------------------


def _member(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Change a member; sizes and digests fit."""

    def alter(case: Case) -> None:
        case.files[name] = change(case.files.get(name, b""))
        _digests(case)

    return alter


def put(name: str, data: bytes) -> Change:
    """Put in a member, or another one in its place; sizes and digests fit."""
    return _member(name, lambda _: data)


def _padded(name: str, size: int) -> Row:
    return f"{name}: one byte beyond the limit", put(name, b"#" * (size + 1)), DAMAGED, 0, "where"


PROOF = encode_consistency(3, ["A" * 43 + "="])
MEMBERS: list[Row] = [
    ("an edge that is too short", _member(bundle.EDGE, lambda data: data[:-32]), DAMAGED, 0, "malformed edge"),
    ("a tile that no event needs", put(bundle.tiles_name(0), INDEX.pack(0) + bytes(8192)), Kind.PROOF_MISMATCH, 0,
     "a tile that no event needs"),
    ("a member of tiles that is empty", put(bundle.tiles_name(1), b""), DAMAGED, 0, "is empty"),
    ("a consistency proof that nobody asked for", put(bundle.CONSISTENCY, PROOF), None, 0, ""),
    ("a consistency proof with a leading zero", put(bundle.CONSISTENCY, b"old 03\n"), DAMAGED, 0, "consistency"),
    ("a consistency proof without its end", put(bundle.CONSISTENCY, PROOF[:-1]), DAMAGED, 0, "each with its newline"),
    ("a consistency proof with 31 bytes", put(bundle.CONSISTENCY, b"old 3\n" + b"A" * 42 + b"==\n"), DAMAGED, 0,
     "consistency"),
    ("a page that differs", _member(bundle.PAGE, flipped), SUMMARY, 0, "case.html"),
    ("keys.txt with another id of a key", _member(bundle.KEYS, lambda data: data.replace(b"+", b"+0", 1)[:-1]), DAMAGED,
     0, "malformed keys"),
    ("keys.txt with a comment", _member(bundle.KEYS, lambda data: b"# of the log\n\n" + data), None, 0,
     ""),
    ("a signing-keys member of another form", put(bundle.SIGNING_KEYS, b'{"events":[],"x":1}'), DAMAGED, 0,
     "signing keys"),
]  # fmt: skip
LIMITS: list[Row] = [
    _padded(bundle.KEYS, 64 * 1024),
    _padded(bundle.CONSISTENCY, 8 * 1024),
    _padded(bundle.CHECKPOINT, 512 * 1024),
    _padded(bundle.ROTATIONS, LIMIT),
    _padded(bundle.stamp_name(1), 256 * 1024),
]
