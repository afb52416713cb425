"""ledger/proof/tlog/merkle.py against a naive twin, and every bit of every proof flipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.tlog.merkle import (
    EMPTY_ROOT,
    MAX_PATH,
    MAX_SIZE,
    Node,
    ProofError,
    ProofFlaw,
    check_consistency,
    check_inclusion,
    complete_nodes,
    consistency_proof,
    inclusion_proof,
    inclusion_root,
    leaf_hash,
    node_hash,
    root_at,
    root_of,
)
from ledger.tlog.tree import RightEdge
from tests.ledger.proof.tlog.merkle_twin import (
    LARGEST,
    LEAVES,
    Store,
    consistency_flaw,
    inclusion_flaw,
    mth,
    path,
    subproof,
)

# The sizes of the fast suite: small trees, and what lies around a power of two. The slow suite takes all up to LARGEST.
SOME_SIZES = (*range(1, 25), 31, 32, 33, 63, 64, 65)
# The slow suite shares its sizes out, so that several processes take part.
PARTS = 10
# Larger trees have no other kinds of places.
ALL_BITS = 40


@pytest.fixture(scope="module")
def store() -> Store:
    """A tree of LARGEST leaves."""
    store = Store()
    store.extend(LEAVES)
    return store


def flip(data: bytes, bit: int) -> bytes:
    """The data with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def flips(proof: Sequence[bytes], bits: Sequence[int]) -> Iterator[list[bytes]]:
    """The proof with one of these bits of one of its elements flipped, for each bit and element."""
    for at, element in enumerate(proof):
        for bit in bits:
            yield [*proof[:at], flip(element, bit), *proof[at + 1 :]]


def test_roots_are_those_of_the_recursive_definition(store: Store) -> None:
    """The root of every size is the recursive definition's, grown or read from storage."""
    edge = RightEdge()
    for size in range(LARGEST + 1):
        assert edge.root() == root_at(size, store.read) == mth(0, size)
        if size < LARGEST:
            edge.extend([LEAVES[size]])


def test_inclusion_proofs_are_the_reference_ones(store: Store) -> None:
    """Every size times every index: the proof is the RFC's, made from at most one read, and is accepted."""
    for size in range(1, LARGEST + 1):
        for index in range(size):
            before = store.reads
            proof = inclusion_proof(index, size, store.read)
            assert store.reads - before == (size > 1)
            assert proof == path(index, 0, size)
            check_inclusion(LEAVES[index], index, size, proof, mth(0, size))


def test_consistency_proofs_are_the_reference_ones(store: Store) -> None:
    """Every size times every older size: the proof is the RFC's, made from at most one read, and is accepted."""
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            before = store.reads
            proof = consistency_proof(old, new, store.read)
            assert store.reads - before == (old < new)
            assert proof == subproof(old, 0, new, whole=True)
            check_consistency(old, new, mth(0, old), mth(0, new), proof)


def bits_to_flip(size: int, other: int, *, every: bool) -> Sequence[int]:
    """All 256 bits; for larger sizes one that wanders with size and index, or such a one of each byte."""
    if size <= (ALL_BITS if every else 12):
        return range(256)
    return [8 * byte + (size + other) % 8 for byte in range(32)] if every else [(31 * size + 7 * other) % 256]


def flip_inclusion(sizes: Iterable[int], *, every: bool) -> None:
    """Flip bits of every inclusion proof, its leaf and its root."""
    for size in sizes:
        root = mth(0, size)
        for index in range(size):
            proof, leaf, bits = path(index, 0, size), LEAVES[index], bits_to_flip(size, index, every=every)
            for bad in flips(proof, bits):
                assert inclusion_flaw(leaf, index, size, bad, root) is ProofFlaw.ROOT
            for bit in bits:
                assert inclusion_flaw(flip(leaf, bit), index, size, proof, root) is ProofFlaw.ROOT
                assert inclusion_flaw(leaf, index, size, proof, flip(root, bit)) is ProofFlaw.ROOT


def flip_consistency(sizes: Iterable[int], *, every: bool) -> None:
    """Flip bits of every consistency proof and its roots."""
    either = {ProofFlaw.OLD_ROOT, ProofFlaw.NEW_ROOT}
    for new in sizes:
        for old in range(1, new + 1):
            roots = mth(0, old), mth(0, new)
            proof, bits = subproof(old, 0, new, whole=True), bits_to_flip(new, old, every=every)
            seeded = old == new or old & (old - 1) == 0  # nothing in the proof leads to the old root
            old_flaw = ProofFlaw.NEW_ROOT if seeded else ProofFlaw.OLD_ROOT
            for bad in flips(proof, bits):
                assert consistency_flaw(old, new, roots, bad) in either
            for bit in bits:
                assert consistency_flaw(old, new, (flip(roots[0], bit), roots[1]), proof) is old_flaw
                assert consistency_flaw(old, new, (roots[0], flip(roots[1], bit)), proof) is ProofFlaw.NEW_ROOT


def test_flipped_bits_are_refused() -> None:
    """All indices, all elements: a flipped bit is refused. Every bit up to size 12, one each above."""
    flip_inclusion(SOME_SIZES, every=False)
    flip_consistency(SOME_SIZES, every=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_flipped_bit_is_refused(part: int) -> None:
    """All sizes, all indices, all elements: refused. All 256 bits up to ALL_BITS, a bit of each byte above."""
    flip_inclusion(range(1 + part, LARGEST + 1, PARTS), every=True)
    flip_consistency(range(1 + part, LARGEST + 1, PARTS), every=True)


def test_length_and_elements_are_exact(store: Store) -> None:
    """A proof one element longer or shorter, or with an element of 31 or 33 bytes, is refused by that name."""
    for size in range(1, 40):
        for other in range(size):
            proof, roots = inclusion_proof(other, size, store.read), (mth(0, other), mth(0, size))
            for bad in ([*proof, roots[1]], [roots[1], *proof], *([proof[1:]] if proof else [])):
                assert inclusion_flaw(LEAVES[other], other, size, bad, roots[1]) is ProofFlaw.LENGTH
            for bad in ([*proof[:-1], proof[-1] + b"\0"], [proof[0][:31], *proof[1:]]) if proof else ():
                assert inclusion_flaw(LEAVES[other], other, size, bad, roots[1]) is ProofFlaw.HASH
            if other:
                proof = consistency_proof(other, size, store.read)
                for bad in ([*proof, roots[1]], [roots[0], *proof], proof[1:]):
                    assert consistency_flaw(other, size, roots, bad) is ProofFlaw.LENGTH
                assert consistency_flaw(other, size, roots, [*proof[:-1], proof[-1] + b"\0"]) is ProofFlaw.HASH


def test_a_proof_is_for_its_place_only(store: Store) -> None:
    """A valid inclusion proof does not hold at any other index, nor does the leaf of another index."""
    wrong = {ProofFlaw.ROOT, ProofFlaw.LENGTH}
    for size in range(2, 40):
        for index in range(size):
            proof = inclusion_proof(index, size, store.read)
            for other in set(range(size)) - {index}:
                assert inclusion_flaw(LEAVES[index], other, size, proof, mth(0, size)) in wrong
                assert inclusion_flaw(LEAVES[other], index, size, proof, mth(0, size)) in wrong


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (2**64 - 1, 5), (0, 2**63), (5, 4), (0, -1)])
def test_no_proof_holds_for_an_index_outside_the_tree(index: int, size: int) -> None:
    """No proof holds for an index that the size does not have."""
    assert inclusion_flaw(LEAVES[0], index, size, [], LEAVES[0]) is ProofFlaw.INDEX


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (2, 1), (-1, 1), (1, 2**63)])
def test_sizes_out_of_order(old: int, new: int) -> None:
    """No proof leads from size 0, backwards, or beyond the largest size."""
    assert consistency_flaw(old, new, (EMPTY_ROOT, EMPTY_ROOT), []) is ProofFlaw.SIZES


def test_the_longest_proof_of_the_largest_tree_holds() -> None:
    """In a tree of 2^63 - 1 leaves the longest inclusion proof has MAX_PATH elements and is walked to the root."""
    with pytest.raises(ProofError, match=f"demand {MAX_PATH}"):
        inclusion_root(LEAVES[0], 0, MAX_SIZE, [])
    root = inclusion_root(LEAVES[0], 0, MAX_SIZE, [LEAVES[1]] * MAX_PATH)
    check_inclusion(LEAVES[0], 0, MAX_SIZE, [LEAVES[1]] * MAX_PATH, root)


def test_nonsense_is_the_callers_mistake(store: Store) -> None:
    """Makers and the edge raise ValueError, not ProofError, when asked for what cannot be."""
    for make in (
        lambda: inclusion_proof(3, 3, store.read),
        lambda: inclusion_proof(-1, 3, store.read),
        lambda: consistency_proof(0, 3, store.read),
        lambda: consistency_proof(4, 3, store.read),
        lambda: root_at(-1, store.read),
        lambda: inclusion_proof(0, 3, lambda nodes: [LEAVES[0]] * (len(nodes) - 1)),
        lambda: inclusion_proof(0, 3, lambda nodes: [b"short"] * len(nodes)),
        lambda: complete_nodes(1, 3),
        lambda: RightEdge().extend([b"short"]),
    ):
        with pytest.raises(ValueError, match=r".+"):
            make()


@given(st.lists(st.integers(0, 400), max_size=6), st.data())
def test_any_batching_gives_the_same_tree(batches: list[int], data: st.DataObject) -> None:
    """However leaves arrive, nodes and roots are the same, an edge can be taken up again, and proofs hold."""
    leaves = [leaf_hash(b"%d" % i) for i in range(sum(batches))]
    store, at = Store(), 0
    for batch in batches:
        store.edge = RightEdge.at(at, store.read)
        store.extend(leaves[at : at + batch])
        at += batch
    assert store.edge.root() == root_of(leaves)
    assert all(store.nodes[Node(0, i)] == leaf for i, leaf in enumerate(leaves))
    assert all(
        found
        == node_hash(
            store.nodes[Node(node.level - 1, 2 * node.index)], store.nodes[Node(node.level - 1, 2 * node.index + 1)]
        )
        for node, found in store.nodes.items()
        if node.level
    )
    if leaves:
        index, old = data.draw(st.integers(0, at - 1)), data.draw(st.integers(1, at))
        check_inclusion(leaves[index], index, at, inclusion_proof(index, at, store.read), root_of(leaves))
        roots = root_of(leaves[:old]), root_of(leaves)
        check_consistency(old, at, *roots, consistency_proof(old, at, store.read))
