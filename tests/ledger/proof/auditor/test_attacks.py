"""Attacks on a bundle before the auditor gets it, each named correctly; bundles of a real ledger.

The attacker is careful: counts, page and digests of the manifest fit what was changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.tiles import INDEX, RECORD_BYTES
from ledger.proof.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.proof.tlog.merkle import leaf_hash, root_of
from ledger.proof.tlog.note import parse
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from tests.ledger.cases import CLIENT, Ledger, positions, signed_ledger
from tests.ledger.proof.bundle.bundles import Case, Ran, program, rehashed

Lines = list[dict[str, Any]]
RANGE = positions(201, 300)


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger; nothing is done to it."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        yield found


@pytest.fixture(scope="module")
def range_bundle(ledger: Ledger) -> bytes:
    """Positions 201 to 300."""
    return ledger.bundle(RANGE)[0]


@pytest.fixture(scope="module")
def client_bundle(ledger: Ledger) -> bytes:
    """Two streams of four events, at positions 1, 4, 7, 10 and 313, 316, 319, 322."""
    return ledger.bundle(CLIENT)[0]


def verified(tmp_path: Path, ledger: Ledger, data: bytes, *arguments: object) -> Ran:
    """Run the program as an auditor who has the log's key."""
    path = tmp_path / "case.zip"
    path.write_bytes(data)
    return program(path, "--json", "--key", ledger.key.verifier.text, *arguments)


def test_the_bundles_pass_untouched_and_packed_again(
    ledger: Ledger, range_bundle: bytes, client_bundle: bytes, tmp_path: Path
) -> None:
    """Before anything is done to them, and also once they were packed again."""
    for data in (range_bundle, client_bundle):
        case = Case.read(data)
        for again in (data, case.write(), case.write(careful=False)):
            ran = verified(tmp_path, ledger, again)
            assert (ran.code, ran.found) == (0, []), ran.out


def edit(line: dict[str, Any]) -> dict[str, Any]:
    """Another reason."""
    return {**line, "body": line["body"].replace("no-answer", "yes-answer")}


def drop(index: int) -> Callable[[Lines], Lines]:
    """Without one line."""
    return lambda lines: lines[:index] + lines[index + 1 :]


def change(index: int, how: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Lines], Lines]:
    """With one line changed."""
    return lambda lines: [*lines[:index], how(lines[index]), *lines[index + 1 :]]


def swap_lines(one: int, other: int) -> Callable[[Lines], Lines]:
    """Two lines in each other's place."""

    def swapped(lines: Lines) -> Lines:
        lines[one], lines[other] = lines[other], lines[one]
        return lines

    return swapped


def swap(one: int, other: int, *members: str) -> Callable[[Lines], Lines]:
    """Members of two lines exchanged."""

    def swapped(lines: Lines) -> Lines:
        for name in members:
            lines[one][name], lines[other][name] = lines[other][name], lines[one][name]
        return lines

    return swapped


def made_up(index: int, position: int) -> Callable[[Lines], Lines]:
    """A proper event put in before a line, made from the line before it."""

    def added(lines: Lines) -> Lines:
        return [*lines[:index], rehashed(edit({**lines[index - 1], "position": position})), *lines[index:]]

    return added


def _insert(lines: Lines) -> Lines:
    """One put in at position 250, those after it renumbered, the last one dropped."""
    extra = rehashed(edit({**lines[48], "position": 250}))
    return [*lines[:49], extra, *({**line, "position": line["position"] + 1} for line in lines[49:-1])]


def without(lines: Lines) -> Lines:
    """Position 250 dropped and those after it renumbered."""
    return [*lines[:49], *({**line, "position": line["position"] - 1} for line in lines[50:])]


CONTENTS = ("version", "recorded_at_us", "prev_hash", "hash", "body")
ON_RANGE = [
    ("edited", change(49, edit), ("edited", 250)),
    ("edited, hash recomputed", change(49, lambda line: rehashed(edit(line))), ("edited", 250)),
    ("hash edited", change(49, lambda line: {**line, "hash": "00" * 32}), ("edited", 250)),
    ("version edited", change(49, lambda line: {**line, "version": 9}), ("edited", 250)),
    ("version below zero", change(49, lambda line: {**line, "version": -9}), ("edited", 250)),
    ("time edited", change(49, lambda line: {**line, "recorded_at_us": 5}), ("edited", 250)),
    ("prev_hash edited", change(49, lambda line: {**line, "prev_hash": "00" * 32}), ("edited", 250)),
    ("dropped", drop(49), ("deleted", 250)),
    ("first dropped", drop(0), ("deleted", 201)),
    ("last dropped", drop(99), ("truncated", 300)),
    ("all dropped", lambda _: [], ("truncated", 201)),
    ("dropped, the rest renumbered", without, ("deleted", 250)),
    ("put in twice", lambda lines: [*lines[:50], lines[49], *lines[50:]], ("inserted", 250)),
    ("put in, the rest renumbered", _insert, ("inserted", 250)),
    ("put in past the range", lambda lines: [*lines, rehashed({**lines[0], "position": 301})], ("edited", 301)),
    ("put in past the checkpoint", lambda lines: [*lines, rehashed({**lines[0], "position": 900})], ("inserted", 900)),
    ("lines swapped", swap_lines(49, 50), ("reordered", 250)),
    ("contents swapped", swap(49, 59, *CONTENTS), ("reordered", 250)),
    ("contents of neighbours swapped", swap(49, 50, *CONTENTS), ("reordered", 250)),
    ("contents far apart swapped", swap(5, 95, *CONTENTS), ("reordered", 206)),
]


@pytest.mark.parametrize(("name", "attack", "expected"), ON_RANGE, ids=[name for name, *_ in ON_RANGE])
def test_attacks_on_a_range(
    ledger: Ledger,
    range_bundle: bytes,
    tmp_path: Path,
    name: str,
    attack: Callable[[Lines], Lines],
    expected: tuple[str, int],
) -> None:
    """One change is named, at its position, though the manifest was made to fit."""
    case = Case.read(range_bundle)
    case.lines = attack(case.lines)
    ran = verified(tmp_path, ledger, case.write())
    assert ran.code == 1
    assert ran.found[0] == expected, ran.out
    assert ran.json["first_bad_position"] == expected[1]
    assert len(ran.found) <= 2, ran.found


def other_salt(line: dict[str, Any]) -> dict[str, Any]:
    """One digit of a salt is another."""
    salts = json.loads(line["salts"])
    name = min(salts)
    salts[name] = ("0" if salts[name][0] != "0" else "1") + salts[name][1:]
    return {**line, "salts": json.dumps(salts, separators=(",", ":"), sort_keys=True)}


def other_value(line: dict[str, Any]) -> dict[str, Any]:
    """Another value."""
    return {**line, "fields": line["fields"].replace("note 1", "note 9")}


def later(line: dict[str, Any]) -> dict[str, Any]:
    """The next version of its stream, at another position."""
    return rehashed({**line, "position": 12, "version": 5})


ON_CLIENT = [
    ("sealed values swapped", swap(1, 2, "fields", "salts"), [("commitment-mismatch", 4), ("commitment-mismatch", 7)]),
    ("value alone swapped", swap(1, 2, "fields"), [("commitment-mismatch", 4), ("commitment-mismatch", 7)]),
    ("value changed", change(0, other_value), [("commitment-mismatch", 1)]),
    ("salt changed", change(0, other_salt), [("commitment-mismatch", 1)]),
    ("dropped", drop(1), [("deleted", 7)]),
    ("first dropped", drop(0), [("deleted", 4)]),
    ("edited", change(1, edit), [("edited", 4)]),
    ("edited, hash recomputed", change(1, lambda line: rehashed(edit(line))), [("edited", 4)]),
    ("a version put in", made_up(1, 3), [("inserted", 3)]),
    (
        "a version put in behind",
        lambda lines: [*lines[:2], rehashed(edit({**lines[1], "position": 5})), *lines[2:]],
        [("inserted", 5)],
    ),
    ("a next version put in", lambda lines: [*lines[:4], later(lines[3]), *lines[4:]], [("edited", 12)]),
    ("lines swapped", swap_lines(1, 2), [("reordered", 4)]),
]


@pytest.mark.parametrize(("name", "attack", "expected"), ON_CLIENT, ids=[name for name, *_ in ON_CLIENT])
def test_attacks_on_a_client(
    ledger: Ledger,
    client_bundle: bytes,
    tmp_path: Path,
    name: str,
    attack: Callable[[Lines], Lines],
    expected: list[tuple[str, int]],
) -> None:
    """The same where events stand alone, and for the sealed values."""
    case = Case.read(client_bundle)
    case.lines = attack(case.lines)
    ran = verified(tmp_path, ledger, case.write())
    assert ran.code == 1
    assert ran.found == expected, ran.out


def test_a_careless_change_is_found_once(ledger: Ledger, range_bundle: bytes, tmp_path: Path) -> None:
    """One byte of a body changed in the file itself is one finding, at its event; step 1 does not claim to hold."""
    at = range_bundle.index(b"no-answer", len(range_bundle) // 3)
    ran = verified(tmp_path, ledger, range_bundle[:at] + b"N" + range_bundle[at + 1 :])
    assert ran.code == 1
    assert [kind for kind, _ in ran.found] == ["edited"], ran.out
    assert ran.json["steps"][0]["outcome"] == "FAILS, for what is found below"


def test_the_last_event_left_out(ledger: Ledger, client_bundle: bytes, tmp_path: Path) -> None:
    """Found by the manifest's count; a careful maker of a client's bundle can hide it, and that is said."""
    case = Case.read(client_bundle)
    case.lines = case.lines[:-1]
    assert verified(tmp_path, ledger, case.write(careful=False)).found == [("truncated", 320)]
    case.files[bundle.MANIFEST] = _uncounted(case)
    ran = verified(tmp_path, ledger, case.write())
    assert ran.code == 0
    assert "no later event" in ran.out


def _uncounted(case: Case) -> bytes:
    manifest = case.manifest
    manifest.fields["request.failed.detail"]["disclosed"] -= 1
    return manifest.encode()


def test_a_checkpoint_by_another_key_is_untrusted(ledger: Ledger, client_bundle: bytes, tmp_path: Path) -> None:
    """The checkpoint signed again by another key of the log's name is untrusted; one with a forged signature is bad."""
    case = Case.read(client_bundle)
    other = SigningKey.generate(ledger.key.verifier.name)
    case.files[bundle.CHECKPOINT] = sign_checkpoint(_checkpoint(case), other).encode()
    case.files[bundle.KEYS] = f"{other.verifier.text}\n".encode()
    data = case.write()
    assert verified(tmp_path, ledger, data).found == [("untrusted-key", 0)]
    assert program(tmp_path / "case.zip", "--json").json["verdict"].startswith("CONSISTENT, SIGNER UNKNOWN")
    good = Case.read(client_bundle).files[bundle.CHECKPOINT]
    forged = good[:-20] + (b"AAAA" if good[-20:-16] != b"AAAA" else b"BBBB") + good[-16:]
    case.files[bundle.CHECKPOINT] = forged
    assert verified(tmp_path, ledger, case.write()).found[0] == ("bad-signature", 0)


def _checkpoint(case: Case) -> Checkpoint:
    return parse_checkpoint(parse(case.files[bundle.CHECKPOINT]).text)


def test_tiles_of_another_position(ledger: Ledger, range_bundle: bytes, tmp_path: Path) -> None:
    """A tile with another's number or contents, one missing, one too many, a changed edge: the proof does not hold."""
    case = Case.read(range_bundle)
    tiles = case.files["tiles/0"]
    first, second = tiles[:RECORD_BYTES], tiles[RECORD_BYTES:]
    for changed in (
        INDEX.pack(0) + second[8:] + second,
        INDEX.pack(7) + first[8:] + second,
        second,
        second + first,
        first + second + INDEX.pack(7) + first[8:],
    ):
        case.files["tiles/0"] = changed
        ran = verified(tmp_path, ledger, case.write())
        assert ran.code == 1
        assert {kind for kind, _ in ran.found} == {"proof-mismatch"}, ran.out
    case.files["tiles/0"] = tiles
    edge = case.files[bundle.EDGE]
    case.files[bundle.EDGE] = edge[32:64] + edge[:32] + edge[64:]
    assert verified(tmp_path, ledger, case.write()).found[0] == ("proof-mismatch", 0)


def test_another_ledgers_bundle_is_named_so(
    server_url: str, ledger: Ledger, client_bundle: bytes, tmp_path: Path
) -> None:
    """A good bundle of another ledger is named so; its events under our checkpoint are not in the log."""
    with signed_ledger(server_url, tmp_path) as other:
        theirs = other.bundle(CLIENT)[0]
    assert ("other-ledger", 0) in verified(tmp_path, ledger, theirs).found
    case = Case.read(client_bundle)
    case.files[bundle.EVENTS] = Case.read(theirs).files[bundle.EVENTS]
    ran = verified(tmp_path, ledger, case.write())
    assert ran.found[0] == ("edited", 1)
    assert ran.json["proven"] == 0


def test_an_older_checkpoint_of_another_history_is_a_fork(ledger: Ledger, client_bundle: bytes, tmp_path: Path) -> None:
    """The log signed another history before: forked; a later checkpoint than the bundle's: rolled back."""
    origin = ledger.key.verifier.name
    other = [leaf_hash(bytes([n % 256]) * 32) for n in range(1000)]

    def kept(size: int) -> Path:
        path = tmp_path / "old.txt"
        path.write_bytes(sign_checkpoint(Checkpoint(origin, size, root_of(other[:size])), ledger.key).encode())
        return path

    assert verified(tmp_path, ledger, client_bundle, "--since", kept(648)).found == [("forked", 0)]
    assert verified(tmp_path, ledger, client_bundle, "--since", kept(1000)).found == [("rolled-back", 649)]
    data, _ = ledger.bundle(CLIENT, since=kept(312).read_bytes())
    assert verified(tmp_path, ledger, data, "--since", kept(312)).found == [("forked", 0)]
    stranger = SigningKey.generate(origin)
    kept(312).write_bytes(sign_checkpoint(Checkpoint(origin, 312, root_of(other[:312])), stranger).encode())
    ran = verified(tmp_path, ledger, data, "--since", tmp_path / "old.txt")
    assert (ran.code, ran.out) == (2, ""), "the auditor's own file says nothing of the bundle"
    assert "give the key that signed it" in ran.err


def test_a_page_or_count_that_differs_from_the_events_is_found(
    ledger: Ledger, client_bundle: bytes, tmp_path: Path
) -> None:
    """The page for people is made again and compared, and so are the counts of the manifest."""
    case = Case.read(client_bundle)
    data = case.files[bundle.PAGE].replace(b"note 1", b"note 2")
    manifest = case.manifest
    manifest.files[bundle.PAGE] = len(data), sha256(data).hexdigest()
    case.files |= {bundle.PAGE: data, bundle.MANIFEST: manifest.encode()}
    found = verified(tmp_path, ledger, case.write(careful=False))
    assert found.found == [("summary-mismatch", 0)]
    assert f"byte {data.index(b'note 2') + 5} differs" in found.json["findings"][0]["message"]
    case = Case.read(client_bundle)
    manifest = case.manifest
    manifest.fields["request.failed.detail"]["erased"] = 3
    case.files[bundle.MANIFEST] = manifest.encode()
    assert verified(tmp_path, ledger, case.write()).found == [("summary-mismatch", 0)]
