"""ledger/proof/tlog/tlog_proof.py: the file says where an event is, and verification takes nothing from it on trust."""

from __future__ import annotations

import base64
from contextlib import suppress
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import Checkpoint, CheckpointFlaw, cosignatures
from ledger.proof.tlog.merkle import MAX_PATH, ProofFlaw, consistency_proof, inclusion_proof, leaf_hashes, root_of
from ledger.proof.tlog.note import NoteFlaw
from ledger.proof.tlog.tlog_proof import (
    MAX_EXTRA_BYTES,
    MAX_PROOF_BYTES,
    TlogProof,
    TlogProofError,
    TlogProofFlaw,
    parse_proof,
    verify_proof,
)
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.serve.proof_file import encode_proof
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from ledger.tlog.tree import encode_entries
from tests.ledger.proof.mutation import corpus, flaw_of, mutated
from tests.ledger.proof.tlog.merkle_twin import Store
from tests.paths import DOCS

DOCUMENT = DOCS / "formats/tlog.md"

# The example of docs/formats/tlog.md section 10.
ORIGIN = "ledger.example/advice"
LOG = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
WITNESS = WitnessSigningKey("witness.example/w1", Ed25519PrivateKey.from_private_bytes(b"\2" * 32))
ENTRIES = [sha256(f"event {position}".encode()).digest() for position in (1, 2, 3)]
LEAVES = leaf_hashes(ENTRIES)
STORE = Store()
STORE.extend(LEAVES)
SIGNED = sign_checkpoint(Checkpoint(ORIGIN, 3, root_of(LEAVES)), LOG)
COSIGNED = SIGNED.add([WITNESS.cosign(SIGNED.text, 1_767_225_600)])
PROOF = TlogProof(1, tuple(inclusion_proof(1, 3, STORE.read)), COSIGNED.encode())
LOG_KEYS, WITNESS_KEYS = [LOG.verifier], [WITNESS.verifier]

HASH = b"A" * 43 + b"=\n"


def test_the_documented_proof_is_what_we_make() -> None:
    """docs/formats/tlog.md section 10 shows the bytes that this code makes."""
    request = AddCheckpoint(2, tuple(consistency_proof(2, 3, STORE.read)), SIGNED.encode())
    bundle = encode_entries(ENTRIES).hex()
    blocks = [
        "".join(f"{entry.hex()} -> {leaf.hex()}\n" for entry, leaf in zip(ENTRIES, LEAVES, strict=True)),
        f"{root_of(LEAVES[:2]).hex()}\n{root_of(LEAVES).hex()}\n",
        "".join(f"{bundle[at : at + 68]}\n" for at in range(0, len(bundle), 68)),
        "".join(f"{text}\n" for key in (LOG, WITNESS) for text in (key.verifier.text, key.reveal())),
        request.encode().decode(),
        encode_proof(PROOF).decode(),
    ]
    document = DOCUMENT.read_text("utf-8")
    assert [block for block in blocks if f"```text\n{block}```\n" not in document] == []


def test_the_proof_of_each_event_holds_for_it() -> None:
    """The proof of each event holds for it, under the log's key, and tells who cosigned."""
    for index, leaf in enumerate(LEAVES):
        proof = TlogProof(index, tuple(inclusion_proof(index, 3, STORE.read)), COSIGNED.encode(), b"extra")
        assert parse_proof(encode_proof(proof)) == proof
        signed = verify_proof(proof, leaf, ORIGIN, LOG_KEYS, WITNESS_KEYS)
        assert signed.checkpoint.size == 3
        assert [one.name for one in cosignatures(signed.witnesses)] == ["witness.example/w1"]


def test_each_refusal_of_verification() -> None:
    """Another event, another place, another log, another key, a changed checkpoint: each by its name."""
    other = SigningKey.generate(ORIGIN).verifier
    changed = COSIGNED.encode().replace(b"\n3\n", b"\n4\n")
    refusals = {
        ProofFlaw.ROOT: flaw_of(verify_proof, PROOF, LEAVES[0], ORIGIN, LOG_KEYS),
        ProofFlaw.LENGTH: flaw_of(
            verify_proof, TlogProof(2, PROOF.path, PROOF.checkpoint), LEAVES[1], ORIGIN, LOG_KEYS
        ),
        ProofFlaw.INDEX: flaw_of(verify_proof, TlogProof(3, PROOF.path, PROOF.checkpoint), LEAVES[1], ORIGIN, LOG_KEYS),
        CheckpointFlaw.ORIGIN: flaw_of(verify_proof, PROOF, LEAVES[1], "other.example", LOG_KEYS),
        NoteFlaw.UNSIGNED: flaw_of(verify_proof, PROOF, LEAVES[1], ORIGIN, [other]),
        NoteFlaw.BAD_SIGNATURE: flaw_of(verify_proof, TlogProof(1, PROOF.path, changed), LEAVES[1], ORIGIN, LOG_KEYS),
        NoteFlaw.STRUCTURE: flaw_of(verify_proof, TlogProof(1, PROOF.path, b"no note"), LEAVES[1], ORIGIN, LOG_KEYS),
    }
    assert refusals == {flaw: flaw for flaw in refusals}


def test_a_bad_cosignature_refuses_the_proof() -> None:
    """A cosignature by a known witness that does not verify is not passed over."""
    forged = WITNESS.cosign(SIGNED.text, 1)._replace(blob=bytes(72))
    proof = TlogProof(1, PROOF.path, SIGNED.add([forged]).encode())
    assert flaw_of(verify_proof, proof, LEAVES[1], ORIGIN, LOG_KEYS, WITNESS_KEYS) is NoteFlaw.BAD_SIGNATURE
    assert flaw_of(verify_proof, proof, LEAVES[1], ORIGIN, LOG_KEYS) is None


@pytest.mark.parametrize(
    ("flaw", "data"),
    [
        (TlogProofFlaw.TOO_LARGE, b"x" * (MAX_PROOF_BYTES + 1)),
        (TlogProofFlaw.STRUCTURE, b""),
        (TlogProofFlaw.STRUCTURE, b"c2sp.org/tlog-proof@v1\nindex 0\n"),
        (TlogProofFlaw.STRUCTURE, b"c2sp.org/tlog-proof@v1\nindex \xd9\xa0\n\nc\n"),
        (TlogProofFlaw.HEADER, b"c2sp.org/tlog-proof@v2\nindex 0\n\nc\n"),
        (TlogProofFlaw.HEADER, b"c2sp.org/tlog-proof@v1\r\nindex 0\n\nc\n"),
        (TlogProofFlaw.HEADER, b"\n\nc\n"),
        (TlogProofFlaw.EXTRA, b"c2sp.org/tlog-proof@v1\nextra \nindex 0\n\nc\n"),
        (TlogProofFlaw.EXTRA, b"c2sp.org/tlog-proof@v1\nextra !!notbase64!!\nindex 0\n\nc\n"),
        (TlogProofFlaw.EXTRA, b"c2sp.org/tlog-proof@v1\nextra YWI\nindex 0\n\nc\n"),
        (TlogProofFlaw.INDEX, b"c2sp.org/tlog-proof@v1\n\nc\n"),
        (TlogProofFlaw.INDEX, b"c2sp.org/tlog-proof@v1\nindex notanumber\n\nc\n"),
        (TlogProofFlaw.INDEX, b"c2sp.org/tlog-proof@v1\nindex -5\n\nc\n"),
        (TlogProofFlaw.INDEX, b"c2sp.org/tlog-proof@v1\nindex 01\n\nc\n"),
        (TlogProofFlaw.INDEX, b"c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n\nc\n"),
        (TlogProofFlaw.INDEX, b"c2sp.org/tlog-proof@v1\nextra YWI=\nextra YWI=\nindex 0\n\nc\n"),
        (TlogProofFlaw.PATH, b"c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!\n\nc\n"),
        (TlogProofFlaw.PATH, b"c2sp.org/tlog-proof@v1\nindex 0\n" + b"A" * 86 + b"==\n\nc\n"),
        (TlogProofFlaw.PATH, b"c2sp.org/tlog-proof@v1\nindex 0\n" + HASH * (MAX_PATH + 1) + b"\nc\n"),
    ],
    ids=range(19),
)
def test_a_malformed_file_is_refused_by_name(flaw: TlogProofFlaw, data: bytes) -> None:
    """Each way a file can be malformed has its name. Most cases are those of transparency-dev/formats (Apache-2.0)."""
    assert flaw_of(parse_proof, data) is flaw


def test_the_limits_fit_each_other() -> None:
    """The longest extra and path still make a file; one byte or element more does not."""
    proof = TlogProof(0, (bytes(32),) * MAX_PATH, b"c\n", bytes(MAX_EXTRA_BYTES))
    assert parse_proof(encode_proof(proof)) == proof
    for bad in (
        TlogProof(0, (), b"c\n", bytes(MAX_EXTRA_BYTES + 1)),
        TlogProof(0, (bytes(32),) * (MAX_PATH + 1), b"c\n"),
        TlogProof(0, (b"short",), b"c\n"),
        TlogProof(-1, (), b"c\n"),
    ):
        with pytest.raises(TlogProofError):
            encode_proof(bad)
    assert 4 * MAX_EXTRA_BYTES / 3 + 45 * MAX_PATH + 100 < 96 * 1024


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=5),
    st.binary(max_size=50),
    st.binary(),
)
def test_file_and_value_are_one(index: int, path: list[bytes], extra: bytes, checkpoint: bytes) -> None:
    """Any proof is written and read back the same."""
    proof = TlogProof(index, tuple(path), checkpoint, extra)
    assert parse_proof(encode_proof(proof)) == proof


def verified_text(data: bytes) -> str:
    """The text of the checkpoint of a proof for the second event that verifies."""
    return verify_proof(parse_proof(data), LEAVES[1], ORIGIN, LOG_KEYS, WITNESS_KEYS).text


@given(mutated(encode_proof(PROOF)) | st.binary(max_size=80))
def test_a_changed_file_proves_the_same_or_is_refused(data: bytes) -> None:
    """Whatever verifies proves the same event in the same tree; the rest is refused by name."""
    with suppress(EvidenceError):
        assert encode_proof(parse_proof(data)) == data
        assert verified_text(data) == SIGNED.text


def test_every_mutation_of_a_file_is_refused() -> None:
    """The same for every mutation of the corpus. A changed index, path or checkpoint text never verifies."""
    good = encode_proof(PROOF)
    signatures = good.index("\u2014".encode())
    for data in corpus(good):
        with suppress(EvidenceError):
            assert verified_text(data) == SIGNED.text
            assert data[:signatures] == good[:signatures]


def test_extra_is_not_covered() -> None:
    """Changing `extra` does not change what is proven: readers must not trust it."""
    with_extra = TlogProof(1, PROOF.path, PROOF.checkpoint, b"anything at all")
    assert base64.b64encode(b"anything at all") in encode_proof(with_extra)
    assert verified_text(encode_proof(with_extra)) == verified_text(encode_proof(PROOF))
