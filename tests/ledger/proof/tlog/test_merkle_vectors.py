"""ledger/proof/tlog/merkle.py against what others computed: transparency-dev/merkle, commit 417fb0c, Apache-2.0."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ledger.proof.tlog.merkle import EMPTY_ROOT, leaf_hash, root_of
from tests.ledger.proof.tlog.merkle_twin import consistency_flaw, inclusion_flaw
from tests.paths import ROOT

VECTORS = ROOT.parent / "shared" / "vectors" / "merkle"

# testonly/constants.go: entries, then the root at each size.
KNOWN_ENTRIES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
KNOWN_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def test_roots_are_those_that_others_computed() -> None:
    """Trees of 0 to 8 known entries have the roots others computed."""
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in KNOWN_ENTRIES]
    assert [root_of(leaves[:size]).hex() for size in range(9)] == list(KNOWN_ROOTS)
    assert EMPTY_ROOT.hex() == KNOWN_ROOTS[0]


def vectors(kind: str) -> list[object]:
    """The cases of one kind, or a case that skips and says why."""
    files = sorted((VECTORS / kind).rglob("*.json"))
    missing = pytest.param(VECTORS, marks=pytest.mark.skip(f"no vectors at {VECTORS}"))
    return [pytest.param(file, id=str(file.relative_to(VECTORS))) for file in files] or [missing]


def unbase64(text: str) -> bytes:
    """Base64 of the vectors."""
    return base64.b64decode(text)


@pytest.mark.parametrize("file", vectors("inclusion"))
def test_inclusion_proofs_hold_as_the_vectors_say(file: Path) -> None:
    """transparency-dev/merkle: accepted if and only if the vector says so."""
    case = json.loads(file.read_text())
    leaf, root = unbase64(case["leafHash"]), unbase64(case["root"])
    proof = [unbase64(element) for element in case["proof"] or []]
    flaw = inclusion_flaw(leaf, case["leafIdx"], case["treeSize"], proof, root)
    assert (flaw is not None) == case["wantErr"]


@pytest.mark.parametrize("file", vectors("consistency"))
def test_consistency_proofs_hold_as_the_vectors_say(file: Path) -> None:
    """transparency-dev/merkle: accepted if and only if the vector says so."""
    case = json.loads(file.read_text())
    roots = unbase64(case["root1"]), unbase64(case["root2"])
    proof = [unbase64(element) for element in case["proof"] or []]
    flaw = consistency_flaw(case["size1"], case["size2"], roots, proof)
    assert (flaw is not None) == case["wantErr"]


def test_all_vectors_are_there() -> None:
    """98 cases of each kind: none is missed because a folder is laid out otherwise."""
    if not VECTORS.is_dir():
        pytest.skip(f"no vectors at {VECTORS}")
    assert [len(vectors(kind)) for kind in ("inclusion", "consistency")] == [98, 98]
