"""COSE receipts: a program that is not ours verifies them, for the event that they are of and for no other."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cwt import COSE, COSEKey, VerifyError

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.tlog.serve.cose_receipt import make_receipt
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.tlog.signing_keys import SigningKey
from tests.api.served import Api, ledger_copy, problem, served
from tests.conftest import Template
from tests.ledger.tlog.logs import fill, hashes, key_for, sign
from tests.support import connect

SIZE = 300
EDDSA, RFC9162_SHA256 = -8, 1


@pytest.fixture(scope="module")
def log(
    server_url: str, template_database: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Api, Api, SigningKey, list[bytes]]]:
    """A server that signs, one that does not, the key, and the hashes of the events."""
    state: Path = tmp_path_factory.mktemp("log") / "last"
    with ledger_copy(server_url, template_database) as url:
        key = key_for(url)
        fill(url, SIZE)
        sign(url, key, state)
        with connect(url) as conn:
            entries = hashes(conn)
        with served(url) as without, served(url, tokens=without.tokens, signing=SigningConfig(key, state)) as signing:
            yield signing, without, key, entries


def root_of(entry: bytes, size: int, index: int, path: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.3.2, word for word."""
    assert index < size
    fn, sn, r = index, size - 1, sha256(b"\x00" + entry).digest()
    for p in path:
        assert sn
        if fn % 2 or fn == sn:
            r = sha256(b"\x01" + p + r).digest()
            while fn and not fn % 2:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = sha256(b"\x01" + r + p).digest()
        fn, sn = fn >> 1, sn >> 1
    assert not sn
    return r


def verify(receipt: bytes, entry: bytes, key: SigningKey) -> tuple[int, int]:
    """Verify a receipt with the library cwt; return tree size and index. Raises VerifyError."""
    sign1: Any = cbor2.loads(receipt)
    protected, unprotected, payload, _ = sign1.value
    kid = key.verifier.key_id.to_bytes(4, "big")
    assert (sign1.tag, payload) == (18, None)
    assert cbor2.loads(protected) == {1: EDDSA, 4: kid, 395: RFC9162_SHA256}
    [proof] = unprotected[396][-1]
    size, index, path = cbor2.loads(proof)
    # Deterministic CBOR: writing it again gives the same bytes.
    assert cbor2.dumps(sign1, canonical=True) == receipt
    point = Ed25519PublicKey.from_public_bytes(key.verifier.public)
    pem = point.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    root = root_of(entry, size, index, path)
    assert COSE.new().decode(receipt, COSEKey.from_pem(pem, kid=kid), detached_payload=root) == root
    return size, index


@pytest.mark.parametrize("position", [1, 2, 255, 256, 257, 299, SIZE])
def test_another_program_verifies_a_receipt(log: tuple[Api, Api, SigningKey, list[bytes]], position: int) -> None:
    """It shows the event at its position under a root that the log signed, and no other event."""
    api, _, key, entries = log
    answer = api.get(f"/proofs/inclusion/{position}.receipt")
    assert answer.headers["content-type"] == "application/cose"
    note = api.get("/checkpoint", None).content
    signed = open_checkpoint(note, key.verifier.name, [key.verifier]).checkpoint
    assert verify(answer.content, entries[position - 1], key) == (signed.size, position - 1)
    with pytest.raises(VerifyError):
        verify(answer.content, entries[position % SIZE], key)


def test_who_may_and_what_cannot_be_had(log: tuple[Api, Api, SigningKey, list[bytes]]) -> None:
    """Any role, with a token; what no checkpoint covers; a server without the key says whom to ask."""
    api, without, *_ = log
    problem(api.get("/proofs/inclusion/1.receipt", None), 401, "no-token")
    for role in api.tokens:
        assert api.get("/proofs/inclusion/1.receipt", role).status_code == 200
    problem(api.get(f"/proofs/inclusion/{2**53 - 1}.receipt"), 404, "not-covered")
    problem(api.get("/proofs/inclusion/x.receipt"), 422, "invalid")
    found = problem(without.get("/proofs/inclusion/1.receipt"), 503, "unavailable")
    assert "no signing key" in found["detail"]


def test_a_key_signs_receipts_for_its_own_checkpoints_alone(log: tuple[Api, Api, SigningKey, list[bytes]]) -> None:
    """Neither a root of another key nor any other bytes: no note begins like what it signs here."""
    api, _, key, _ = log
    note = api.get("/checkpoint", None).content
    other = SigningKey.generate(key.verifier.name)
    with pytest.raises(EvidenceError):
        make_receipt(other, note, 0, [])
    for structure in (b"", b"origin\n1\n", b"\x84\x69Signature\x40\x40\x40", note):
        with pytest.raises(ValueError, match="Sig_structure"):
            key.sign_structure(structure)
