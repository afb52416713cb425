"""The vectors are what the generator makes; our checkers agree with each; so does code made from the pages alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ledger.domain.sampling import Member, Population, draw
from ledger.proof.acts.act import check_act
from ledger.proof.acts.errors import ActError
from ledger.proof.acts.keys import Keys
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.bundle.attestations import ShownAttestations
from ledger.proof.bundle.proven_events import KeyRegistration
from ledger.proof.bundle.shown_end import Needed
from ledger.proof.errors import EvidenceError
from ledger.proof.findings import BUNDLE, Finding, Findings, Kind
from ledger.proof.format.canonical import NotCanonical, canonical, parse_object
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import genesis_hash
from ledger.proof.recording.attestation import read_registration
from ledger.proof.tlog.checkpoint import WitnessKey, cosignatures, open_checkpoint
from ledger.proof.tlog.merkle import check_consistency, check_inclusion, leaf_hash
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.tiles import EntryBundle, decode_entries, decode_tile
from ledger.proof.tlog.tlog_proof import parse_proof, verify_proof
from ledger.proof.tlog.trust import Trust, Unusable
from ledger.tlog.add_checkpoint import parse_request
from ledger.tlog.serve.tile_path import parse_path
from tests import vectors
from tests.bundle_vectors import checks
from tests.bundle_vectors_zip import Check
from tests.ledger.proof.chains import found, verify
from tests.paths import DOCS
from tests.vector_sharing import bundle_of

MOST_BYTES = 1_250_000
README = (vectors.FOLDER / "README.md").read_text("utf-8")

# Words of our refusals, by the vectors' name for them: another program has words of its own.
REASONS = {
    "integer": "integers beyond",
    "null character": "U+0000",
    "surrogate": "surrogate",
    "depth": "nested deeper",
}


CHECKED = {check.name: check for check in checks()}


def load(name: str) -> list[dict[str, Any]]:
    """The vectors of a file."""
    found = json.loads((vectors.FOLDER / f"{name}.json").read_text("utf-8"))["vectors"]
    assert isinstance(found, list)
    return found


def test_they_are_what_the_generator_makes() -> None:
    """Regenerated, every file is the same byte for byte, and there is no other; `make vectors` writes them."""
    there = {path.name: path.read_bytes() for path in vectors.FOLDER.glob("*.json")}
    assert there == vectors.files()
    assert sum(map(len, there.values())) < MOST_BYTES


@pytest.mark.parametrize("name", vectors.MAKERS)
def test_each_file_is_described_and_holds_good_and_bad(name: str) -> None:
    """The README has every member of every vector; names say which is which."""
    section = re.split(rf"^## `{name}.json`", README, flags=re.MULTILINE)[1].partition("\n## ")[0]
    all_of = load(name)
    members = {member for one in all_of for member in one} - {"name", "flaw"}
    assert {member for member in members if f"`{member}`" not in section} == set()
    assert len({one["name"] for one in all_of}) == len(all_of)
    flaws = {one["flaw"] for one in all_of}
    assert None in flaws
    assert len(flaws) > 1 or name == "roots"


def canonical_flaw(one: dict[str, Any]) -> str | None:
    """The writer's refusal, or the verifier's."""
    if "body" in one:
        try:
            parse_object(one["body"].encode())
        except ValueError:
            return Kind.MALFORMED.value
        return None
    try:
        assert canonical(json.loads(one["json"])).decode() == one["canonical"]
    except NotCanonical as error:
        return next(name for name, words in REASONS.items() if words in error.reason)
    return None


def commitment_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of a commitment, None if the value opens it."""
    salts, fields = ({one["field"]: value} for value in (one["salt"], json.loads(one["value"])))
    try:
        assert open_sealed({one["field"]: one["commitment"]}, canonical(salts), canonical(fields)) == 1
    except ValueError:
        return Kind.COMMITMENT_MISMATCH.value
    return None


def chain_flaw(one: dict[str, Any]) -> str | None:
    """The only finding, at its position."""
    told = one["head"]
    head = Head(told["origin"], told["position"], bytes.fromhex(told["hash"]), told["time_us"])
    assert genesis_hash(head.origin).hex() == one["genesis_hash"]
    findings = found(verify(head, map(stored, one["events"])))
    if not findings:
        return None
    ((kind, position),) = {(kind, position) for kind, position in findings if position == one["position"]}
    assert findings[0] == (kind, position)
    return kind


def stored(row: dict[str, Any]) -> EventRow:
    """A row of a vector."""
    binary = {"body", "salts", "fields"}
    values = {name: value.encode() if name in binary else value for name, value in row.items()}
    hashes = {name: bytes.fromhex(row[name]) for name in ("prev_hash", "hash")}
    return EventRow(**{"salts": None, "fields": None, **values, **hashes})


def inclusion_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of the proof."""
    leaf = leaf_hash(bytes.fromhex(one["entry"]))
    proof = [bytes.fromhex(element) for element in one["proof"]]
    return flaw_of(lambda: check_inclusion(leaf, one["index"], one["size"], proof, bytes.fromhex(one["root"])))


def consistency_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of the proof."""
    proof = [bytes.fromhex(element) for element in one["proof"]]
    roots = bytes.fromhex(one["old_root"]), bytes.fromhex(one["new_root"])
    return flaw_of(lambda: check_consistency(one["old"], one["new"], *roots, proof))


def tile_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of the path, and of the content if the vector has one."""

    def check() -> None:
        place = parse_path(one["path"])
        assert place.path == one["path"]
        if "content" in one:
            content = bytes.fromhex(one["content"])
            if isinstance(place, EntryBundle):
                decode_entries(place, content)
            else:
                decode_tile(place, content)

    return flaw_of(check)


def note_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of the note, opened with the keys."""
    witnesses = [WitnessKey.parse(one["witness"])] if "witness" in one else []

    def check() -> None:
        note = base64.b64decode(one["note"])
        signed = open_checkpoint(note, one["origin"], [VerifierKey.parse(one["key"])], witnesses)
        if "size" in one:
            assert (signed.checkpoint.size, signed.checkpoint.root.hex()) == (one["size"], one["root"])
        if "time_s" in one:
            assert [cosigned.timestamp_s for cosigned in cosignatures(signed.witnesses)] == [one["time_s"]]

    return flaw_of(check)


def request_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of the body."""

    def check() -> None:
        request = parse_request(one["request"].encode())
        assert (request.old_size, [element.hex() for element in request.proof]) == (one["old"], one["proof"])

    return flaw_of(check)


def proof_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of the file, verified for the entry."""
    keys = [VerifierKey.parse(one["key"])], [WitnessKey.parse(one["witness"])]
    leaf = leaf_hash(bytes.fromhex(one["entry"]))
    return flaw_of(lambda: verify_proof(parse_proof(one["proof"].encode()), leaf, one["origin"], *keys))


def bundle_flaw(one: dict[str, Any]) -> str | None:
    """The kind of the first finding for somebody with these keys; its position and the verdict must fit."""
    witnesses = tuple(map(WitnessKey.parse, one.get("witnesses", ())))
    trusted = Trust(tuple(map(VerifierKey.parse, one["keys"])), witnesses, len(witnesses), witnesses)
    since = one["since"].encode() if "since" in one else None
    needed = Needed(**one["needs"]) if "needs" in one else None
    try:
        audit = audit_bundle(io.BytesIO(bundle_of(one, BUNDLES)), trusted, since, None, needed)
    except Unusable:
        assert one["verdict"] == "none"
        return "no verdict"
    if one["name"] in CHECKED:
        assert_alone(audit.findings, CHECKED[one["name"]])
    verdict = ("verified" if audit.trusted else "consistent") if audit.ok else "failed"
    assert verdict == one["verdict"], audit.findings
    assert audit.complete is one.get("complete", audit.complete)
    if audit.ok:
        return None
    first = audit.findings[0]
    assert first.position == one["position"], audit.findings
    return first.kind.value


def assert_alone(findings: Sequence[Finding], check: Check) -> None:
    """The one check that the bundle is made for has the one finding, and says why."""
    # Of tiles out of order, one is superfluous and missing.
    least = 2 if check.name == "tiles out of order" else 1
    assert len(findings) == (0 if check.kind is None else least), findings
    assert check.kind is None or check.words in str(findings[0]), findings


def flaw_of(check: Callable[[], object]) -> str | None:
    """The name under which something is refused."""
    try:
        check()
    except EvidenceError as error:
        return error.flaw.value
    return None


def act_flaw(one: dict[str, Any]) -> str | None:
    """The flaw of a signed act, None if its signature verifies."""
    keys = Keys(one["ledger"])
    for position, body in enumerate(one["keys"], 1):
        keys.take(position, json.loads(body))
    try:
        check_act(json.loads(one["act"]), one["recorded_at_us"], keys)
    except ActError as error:
        return error.flaw.value
    return None


def attestation_flaw(one: dict[str, Any]) -> str | None:
    """The kind of the first finding about who recorded these events; its position must fit."""
    keys = []
    for position, text in one["keys"]:
        registration = read_registration(text.encode())
        assert registration is not None
        keys.append(KeyRegistration(position, text.encode(), registration))
    findings = Findings(BUNDLE)
    lines = (line.removesuffix("\n").encode() for line in one["attestations"])
    shown = ShownAttestations(one["ledger"], keys, lines, findings)
    for position, text in one["events"]:
        shown.take(position, text.encode())
    shown.finish()
    first = next(iter(findings.in_order()), None)
    assert one["position"] == (0 if first is None else first.position), findings.in_order()
    return None if first is None else first.kind.value


def sample_flaw(one: dict[str, Any]) -> str | None:
    """What of a recorded sample is not what its population and seed give."""
    population = Population(0, tuple(Member(*member) for member in one["members"]))
    if population.digest != one["population_digest"]:
        return "population-digest"
    return None if draw(population.members, one["seed"], one["size"]) == one["chosen"] else "chosen"


CHECKS: dict[str, Callable[[dict[str, Any]], str | None]] = {
    "canonical": canonical_flaw,
    "commitments": commitment_flaw,
    "chains": chain_flaw,
    "inclusion": inclusion_flaw,
    "consistency": consistency_flaw,
    "tiles": tile_flaw,
    "checkpoints": note_flaw,
    "cosignatures": note_flaw,
    "requests": request_flaw,
    "tlog-proofs": proof_flaw,
    "bundles": bundle_flaw,
    "acts": act_flaw,
    "attestations": attestation_flaw,
    "samples": sample_flaw,
}
BUNDLES = {one["name"]: one for one in load("bundles")}
CASES = [(name, one) for name in CHECKS for one in load(name)]


@pytest.mark.parametrize(("name", "one"), CASES, ids=[f"{name}: {one['name']}" for name, one in CASES])
def test_our_checkers_agree(name: str, one: dict[str, Any]) -> None:
    """Each good vector passes, each broken one is refused under the name that it has."""
    assert CHECKS[name](one) == one["flaw"]


# --- from here on no code of ours: hashlib, struct, docs/formats/event.md and docs/formats/tlog.md ---


def sha(*parts: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(b"".join(parts)).digest()


def naive_root(leaves: list[bytes]) -> bytes:
    """The recursive definition."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha(b"\x01", naive_root(leaves[:half]), naive_root(leaves[half:]))


def test_roots_by_the_definition() -> None:
    """Roots are those of the entries that the README names."""
    leaves = [sha(b"\x00", sha(b"event %d" % number)) for number in range(1, 301)]
    assert {one["size"]: one["root"] for one in load("roots")} == {
        size: naive_root(leaves[:size]).hex() for size in (*range(22), 255, 256, 257, 300)
    }
    tiles = {one["path"]: one["content"] for one in load("tiles") if one["flaw"] is None and "content" in one}
    assert tiles["tile/0/000"] == b"".join(leaves[:256]).hex()
    assert tiles["tile/0/001.p/44"] == b"".join(leaves[256:]).hex()
    assert tiles["tile/1/000.p/1"] == naive_root(leaves[:256]).hex()


def test_samples_by_the_page() -> None:
    """Digest and choice are computed as docs/formats/samples.md says; its table has the tickets of the example."""
    page = (DOCS / "formats/samples.md").read_text("utf-8")
    for one in load("samples"):
        packed = b"".join(struct.pack(">QQ", *member) for member in one["members"])
        digest = sha(b"advice-ledger/sample-population/v1\n", packed).hex()
        ranks = []
        for position, weight in one["members"]:
            start = b"advice-ledger/sample-ticket/v1\n" + bytes.fromhex(one["seed"]) + struct.pack(">Q", position)
            tickets = [sha(start, struct.pack(">Q", number)) for number in range(weight)]
            ranks.append((min(tickets), position))
            assert one["name"] != "the worked example" or all(ticket.hex() in page for ticket in tickets)
        chosen = [position for _, position in sorted(ranks)][: one["size"]]
        assert ((digest, chosen) == (one["population_digest"], one["chosen"])) == (one["flaw"] is None)


def test_commitments_by_the_page() -> None:
    """Good ones are the digest of the input that is given, which is laid out as section 3 says; no bad one is."""
    for one in load("commitments"):
        array = f'["{one["field"]}",{one["value"]}]'.encode()
        hashed = b"advice-ledger/sealed/v1\n" + bytes.fromhex(one["salt"]) + array
        assert (sha(hashed).hex() == one["commitment"]) == (one["flaw"] is None)
        assert "input" not in one or one["input"] == hashed.hex()


def test_signed_acts_by_the_page() -> None:
    """The statement is as section 2 of docs/formats/signed-acts.md says: its SHA-256 is the challenge of a passkey."""
    for one in load("acts"):
        act = json.loads(one["act"])
        if one["flaw"] is None and act["signature"]["scheme"] == "webauthn":
            data = {name: act["data"][name] for name in ("digest", "outcome", "reason_code", "recommendation_id")}
            members = {name: act[name] for name in ("id", "schema", "sealed", "type")}
            rest = {
                "actor": act["actor"]["id"],
                "ledger": one["ledger"],
                "prepared_at": act["signature"]["prepared_at"],
            }
            statement = json.dumps({"data": data, **members, **rest}, sort_keys=True, separators=(",", ":"))
            client_data = json.loads(base64.urlsafe_b64decode(act["signature"]["client_data"] + "=="))
            challenge = base64.urlsafe_b64encode(sha(statement.encode())).rstrip(b"=").decode()
            assert client_data["challenge"] == challenge


def test_chains_by_the_page() -> None:
    """A few lines that only say good or bad agree with each chain whose hashes are what is wrong."""
    for one in load("chains"):
        assert naive_chain(one) == (one["flaw"] is None), one["name"]


def naive_chain(one: dict[str, Any]) -> bool:
    """True if positions, links, hashes, columns, times, commitments and the head hold."""
    head = one["head"]
    link, at = sha(b"advice-ledger/genesis/v1\n", head["origin"].encode()), 0
    if link.hex() != one["genesis_hash"]:
        return False
    good = len(one["events"]) == head["position"]
    for position, row in enumerate(one["events"], 1):
        numbers = struct.pack(">QQq", row["position"], row["version"], row["recorded_at_us"])
        digest = sha(b"advice-ledger/event/v1\n", bytes.fromhex(row["prev_hash"]), numbers, row["body"].encode())
        body = json.loads(row["body"])
        good &= (row["position"], row["prev_hash"], row["hash"]) == (position, link.hex(), digest.hex())
        good &= (row["id"], row["stream"], row["type"]) == (body["id"], body["stream"], body["type"])
        good &= row["recorded_at_us"] >= at and naive_sealed(body.get("sealed", {}), row)
        link, at = bytes.fromhex(row["hash"]), row["recorded_at_us"]
    return bool(good and head["hash"] == link.hex() and head["time_us"] == at)


def naive_sealed(commitments: dict[str, str], row: dict[str, Any]) -> bool:
    """True if each value opens its commitment; the values of the vectors are texts."""
    fields, salts = json.loads(row.get("fields", "{}")), json.loads(row.get("salts", "{}"))
    return all(
        sha(
            b"advice-ledger/sealed/v1\n",
            bytes.fromhex(salts[name]),
            json.dumps([name, value], ensure_ascii=False, separators=(",", ":")).encode(),
        ).hex()
        == commitments.get(name)
        for name, value in fields.items()
    )
