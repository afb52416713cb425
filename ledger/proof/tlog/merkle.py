"""Compute the Merkle tree of the log: hashes, proofs and their checkers. Values only, no I/O.

Source: RFC 6962 section 2.1 and RFC 9162 section 2.1; docs/formats/tlog.md section 2. Hashes have 32 bytes,
intervals are [lo, hi).

A proof that does not hold raises ProofError, whose `flaw` names what is wrong with it. An impossible request,
such as a proof for a leaf that the tree does not have, is the caller's mistake and raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from hashlib import sha256

from ledger.proof.errors import EvidenceError

HASH_BYTES = 32
MAX_SIZE = 2**63 - 1
MAX_PATH = 63  # elements a written proof may have (tlog-witness); inclusion in MAX_SIZE leaves needs no more

# MTH({}) = SHA-256(""), RFC 6962 section 2.1
EMPTY_ROOT = sha256(b"").digest()


class ProofFlaw(StrEnum):
    """The reasons for which a proof does not hold."""

    INDEX = "index outside the tree"
    SIZES = "sizes out of order"
    LENGTH = "wrong proof length"
    HASH = "hash is not 32 bytes"
    ROOT = "root not reproduced"
    OLD_ROOT = "old root not reproduced"
    NEW_ROOT = "new root not reproduced"


class ProofError(EvidenceError):
    """The proof does not hold."""


@dataclass(frozen=True, slots=True)
class Node:
    """The root over the leaves [index << level, (index + 1) << level). Once complete it never changes."""

    level: int
    index: int


# One batched read: the hashes of complete nodes, in the order of the nodes.
Reader = Callable[[Sequence[Node]], Sequence[bytes]]


def leaf_hash(entry: bytes) -> bytes:
    """Return MTH({d}) = SHA-256(0x00 || d), RFC 6962 section 2.1. `entry` is the 32-byte event hash."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hash of each entry. Same formula as `leaf_hash`, without a call for each."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n])), RFC 6962 section 2.1."""
    return sha256(b"\x01" + left + right).digest()


def parents(row: Sequence[bytes]) -> list[bytes]:
    """Return the node hash of each pair of a row. An odd last hash waits for its pair and is left out."""
    pairs = iter(row)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


def parent_row(row: bytes) -> bytes:
    """Do the same as `parents` for hashes in one byte string."""
    ends = range(2 * HASH_BYTES, len(row) + 1, 2 * HASH_BYTES)
    return b"".join([sha256(b"\x01" + row[end - 2 * HASH_BYTES : end]).digest() for end in ends])


def join(hashes: Sequence[bytes]) -> bytes:
    """Return the root of an interval from its complete nodes, largest first, as `complete_nodes` returns them."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes))


def complete_nodes(lo: int, hi: int) -> list[Node]:
    """Cut [lo, hi), an interval the tree is split into, into its largest complete nodes, left to right."""
    nodes = []
    while lo < hi:
        level = (hi - lo).bit_length() - 1
        if lo & ((1 << level) - 1):
            raise ValueError(f"no tree is split at [{lo}, {hi})")
        nodes.append(Node(level, lo >> level))
        lo += 1 << level
    return nodes


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return MTH(D[n]) over these leaf hashes, RFC 6962 section 2.1."""
    row = list(leaves)
    while len(row) > 1:
        odd = row[-1:] if len(row) % 2 else []
        row = [*parents(row), *odd]
    return row[0] if row else EMPTY_ROOT


def root_at(size: int, read: Reader) -> bytes:
    """Return the root that the tree has, or had, at this size. Reads once."""
    return join(read_nodes(complete_nodes(0, checked_size(size)), read)) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: Reader) -> list[bytes]:
    """Return PATH(index, D[size]), RFC 6962 section 2.1.1: siblings from leaf to root. Reads once."""
    return _roots(inclusion_nodes(index, size), read)


def inclusion_nodes(index: int, size: int) -> list[list[Node]]:
    """Return the complete nodes to read for each element of that proof, which is their `join`."""
    if not 0 <= index < checked_size(size):
        raise ValueError(f"a tree of {size} has no leaf {index}")
    beside, _ = _descend(index, size)
    return [complete_nodes(lo, hi) for lo, hi in beside]


def consistency_proof(old: int, new: int, read: Reader) -> list[bytes]:
    """Return PROOF(old, D[new]), RFC 6962 section 2.1.2, for 0 < old <= new. Reads once."""
    if not 0 < old <= checked_size(new):
        raise ValueError(f"no consistency proof leads from size {old} to size {new}")
    beside, lo = _descend(old - 1, new, old)
    if lo:  # SUBPROOF(m, D[m], false): the reader cannot take this node from the old root
        beside.insert(0, (lo, old))
    return _roots([complete_nodes(lo, hi) for lo, hi in beside], read)


def _descend(index: int, size: int, end: int = 0) -> tuple[list[tuple[int, int]], int]:
    """Descend from the root to the leaf `index`, or to the first subtree on the way that ends at `end`.

    Return the intervals left aside, lowest first, and where that subtree starts.
    """
    beside = []
    lo, hi = 0, size
    while hi - lo > 1 and hi != end:
        middle = lo + _split(hi - lo)
        if index < middle:
            beside.append((middle, hi))
            hi = middle
        else:
            beside.append((lo, middle))
            lo = middle
    return beside[::-1], lo


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Show that the tree of `size` with `root` has the leaf hash `leaf` at `index`, or raise ProofError."""
    if inclusion_root(leaf, index, size, proof) != root:
        raise ProofError(ProofFlaw.ROOT, f"leaf {index} of {size} does not lead to {root.hex() or 'an empty root'}")


def inclusion_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that a leaf hash and its proof lead to. Raises ProofError for a proof that fits no tree."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(ProofFlaw.INDEX, f"index {index}, size {size}")
    sides = list(_sides(index, size - 1))
    _expect_length(len(sides), proof)
    _expect_hashes((leaf, *proof))
    root = leaf
    for left, sibling in zip(sides, proof, strict=True):
        root = node_hash(sibling, root) if left else node_hash(root, sibling)
    return root


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Show that the tree (new, new_root) begins with the tree (old, old_root), or raise ProofError.

    RFC 9162 section 2.1.4.2. Nothing can be shown from size 0, so old = 0 is refused.
    """
    if not 0 < old <= new <= MAX_SIZE:
        raise ProofError(ProofFlaw.SIZES, f"from size {old} to size {new}")
    if old == new:
        _expect_length(0, proof)
        if old_root != new_root:
            raise ProofError(ProofFlaw.NEW_ROOT, f"two roots for size {new}")
        return
    level = (old & -old).bit_length() - 1  # the largest complete node that ends at leaf `old`
    whole = old == 1 << level  # it is the old tree itself
    sides = list(_sides((old >> level) - 1, (new - 1) >> level))
    _expect_length(len(sides) + (not whole), proof)
    _expect_hashes((old_root, *proof))
    seed, *path = (old_root, *proof) if whole else proof
    was = now = seed
    for left, sibling in zip(sides, path, strict=True):
        was = node_hash(sibling, was) if left else was
        now = node_hash(sibling, now) if left else node_hash(now, sibling)
    if was != old_root:
        raise ProofError(ProofFlaw.OLD_ROOT, f"size {old} does not have {old_root.hex()}")
    if now != new_root:
        raise ProofError(ProofFlaw.NEW_ROOT, f"size {new} does not have {new_root.hex() or 'an empty root'}")


def _sides(index: int, last: int) -> Iterator[bool]:
    """Yield for each sibling on the way to the root: True if it is on the left. `last`: the level's last index."""
    while last:
        if index % 2:
            yield True
        elif index < last:
            yield False
        index //= 2
        last //= 2


def _split(size: int) -> int:
    """Return the largest power of two smaller than size, for size > 1: where RFC 6962 splits a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def _roots(groups: Sequence[Sequence[Node]], read: Reader) -> list[bytes]:
    """Return the root of each group of nodes, from one read."""
    hashes = iter(read_nodes([node for group in groups for node in group], read))
    return [join([next(hashes) for _ in group]) for group in groups]


def read_nodes(nodes: Sequence[Node], read: Reader) -> Sequence[bytes]:
    """Return the hashes of these nodes, from one read. Raises ValueError if the reader returns anything else."""
    hashes = read(nodes) if nodes else []
    if len(hashes) != len(nodes) or any(len(digest) != HASH_BYTES for digest in hashes):
        raise ValueError(f"the reader was asked for {len(nodes)} hashes and answered something else")
    return hashes


def checked_size(size: int) -> int:
    """Return the size of a tree. Raises ValueError if no tree has it."""
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"a tree cannot have {size} leaves")
    return size


def _expect_length(expected: int, proof: Sequence[bytes]) -> None:
    if len(proof) != expected:
        raise ProofError(ProofFlaw.LENGTH, f"{len(proof)} elements where index and size demand {expected}")


def _expect_hashes(hashes: Sequence[bytes]) -> None:
    for digest in hashes:
        if len(digest) != HASH_BYTES:
            raise ProofError(ProofFlaw.HASH, f"{len(digest)} bytes")
