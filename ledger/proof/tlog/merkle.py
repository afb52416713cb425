"""The Merkle tree of the log: hashes, the growing right edge, proofs and their checkers. Values only, no I/O.

Source: RFC 6962 section 2.1 and RFC 9162 section 2.1; docs/formats/tlog.md section 2. Hashes are 32 bytes, intervals are
[lo, hi).

A proof that does not hold raises ProofError, whose `flaw` names what is wrong with it. A question that makes no
sense (a proof for a leaf that is not there yet) is the caller's mistake and raises ValueError.
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
    """Why a proof does not hold."""

    INDEX = "index outside the tree"
    SIZES = "sizes out of order"
    LENGTH = "wrong proof length"
    HASH = "hash is not 32 bytes"
    ROOT = "root not reproduced"
    OLD_ROOT = "old root not reproduced"
    NEW_ROOT = "new root not reproduced"


class ProofError(EvidenceError):
    """The proof does not show what it is said to show."""


@dataclass(frozen=True, slots=True)
class Node:
    """The root over the leaves [index << level, (index + 1) << level). Once complete it never changes."""

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class Row:
    """Nodes of one level that a growing tree completed: `hashes[i]` is the node (level, start + i)."""

    level: int
    start: int
    hashes: Sequence[bytes]


# One batched read: the hashes of complete nodes, in the order asked for.
Reader = Callable[[Sequence[Node]], Sequence[bytes]]


def leaf_hash(entry: bytes) -> bytes:
    """MTH({d}) = SHA-256(0x00 || d), RFC 6962 section 2.1. `entry` is the 32-byte event hash."""
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """The leaf hash of each entry. Same formula as `leaf_hash`, without a call for each."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def node_hash(left: bytes, right: bytes) -> bytes:
    """MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n])), RFC 6962 section 2.1."""
    return sha256(b"\x01" + left + right).digest()


def parents(row: Sequence[bytes]) -> list[bytes]:
    """The node hash of each pair of a row; an odd last hash waits for its pair and is left out."""
    pairs = iter(row)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


def parent_row(row: bytes) -> bytes:
    """As `parents`, of hashes one after the other."""
    ends = range(2 * HASH_BYTES, len(row) + 1, 2 * HASH_BYTES)
    return b"".join([sha256(b"\x01" + row[end - 2 * HASH_BYTES : end]).digest() for end in ends])


def join(hashes: Sequence[bytes]) -> bytes:
    """The root of an interval from its complete nodes, largest first as `complete_nodes` gives them."""
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


class RightEdge:
    """What a tree needs in order to grow: its size and the roots of the complete nodes it is cut into, at most 63."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: dict[int, bytes] = {}  # level -> hash; level l is there if bit l of size is set

    @classmethod
    def at(cls, size: int, read: Reader) -> RightEdge:
        """The edge of a stored tree, with one read of at most 63 nodes."""
        edge = cls()
        nodes = complete_nodes(0, _checked_size(size))
        edge._peaks = {node.level: peak for node, peak in zip(nodes, _read(nodes, read), strict=True)}
        edge.size = size
        return edge

    def extend(self, leaves: Sequence[bytes]) -> list[Row]:
        """Append leaf hashes. Returns the nodes this completed, level by level from 0: what a store has to add.

        Cost: about two hashes a leaf, leaves included, and the rows in memory; feed long logs in batches.
        """
        if set(map(len, leaves)) - {HASH_BYTES}:
            raise ValueError("a leaf hash is not 32 bytes")
        _checked_size(self.size + len(leaves))
        rows = []
        level, start, row = 0, self.size, list(leaves)
        while row:
            rows.append(Row(level, start, row))
            waiting = self._peaks.pop(level, None)
            joined = row if waiting is None else [waiting, *row]
            if len(joined) % 2:
                self._peaks[level] = joined[-1]
            level, start, row = level + 1, start // 2, parents(joined)
        self.size += len(leaves)
        return rows

    def root(self) -> bytes:
        """The root at the present size."""
        peaks = [self._peaks[level] for level in sorted(self._peaks, reverse=True)]
        return join(peaks) if peaks else EMPTY_ROOT


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over these leaf hashes."""
    edge = RightEdge()
    edge.extend(leaves)
    return edge.root()


def root_at(size: int, read: Reader) -> bytes:
    """The root the tree had, or has, at this size. One read."""
    return RightEdge.at(size, read).root()


def inclusion_proof(index: int, size: int, read: Reader) -> list[bytes]:
    """PATH(index, D[size]), RFC 6962 section 2.1.1: siblings from leaf to root. One read."""
    return _roots(inclusion_nodes(index, size), read)


def inclusion_nodes(index: int, size: int) -> list[list[Node]]:
    """For each element of that proof the complete nodes that `join` makes it of: what has to be read."""
    if not 0 <= index < _checked_size(size):
        raise ValueError(f"a tree of {size} has no leaf {index}")
    aside = []
    lo, hi = 0, size
    while hi - lo > 1:
        middle = lo + _split(hi - lo)
        if index < middle:
            aside.append((middle, hi))
            hi = middle
        else:
            aside.append((lo, middle))
            lo = middle
    return [complete_nodes(lo, hi) for lo, hi in reversed(aside)]


def consistency_proof(old: int, new: int, read: Reader) -> list[bytes]:
    """PROOF(old, D[new]), RFC 6962 section 2.1.2, for 0 < old <= new. One read."""
    if not 0 < old <= _checked_size(new):
        raise ValueError(f"no consistency proof leads from size {old} to size {new}")
    aside = []
    lo, hi = 0, new
    while hi != old:
        middle = lo + _split(hi - lo)
        if old <= middle:
            aside.append((middle, hi))
            hi = middle
        else:
            aside.append((lo, middle))
            lo = middle
    if lo:  # SUBPROOF(m, D[m], false): the reader cannot take this node from the old root
        aside.append((lo, hi))
    return _roots([complete_nodes(lo, hi) for lo, hi in reversed(aside)], read)


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Show that the tree of `size` with `root` has the leaf hash `leaf` at `index`, or raise ProofError."""
    if inclusion_root(leaf, index, size, proof) != root:
        raise ProofError(ProofFlaw.ROOT, f"leaf {index} of {size} does not lead to {root.hex() or 'an empty root'}")


def inclusion_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that a leaf hash and its inclusion proof lead to. Raises ProofError for a proof that fits no tree."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofError(ProofFlaw.INDEX, f"index {index}, size {size}")
    sides = list(_sides(index, size - 1))
    _expect_length(len(sides), proof)
    _expect_hashes((leaf, *proof))
    found = leaf
    for left, sibling in zip(sides, proof, strict=True):
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    return found


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
    """For each sibling from a node up to the root, whether it stands on the left. `last` is its level's last index."""
    while last:
        if index % 2:
            yield True
        elif index < last:
            yield False
        index //= 2
        last //= 2


def _split(size: int) -> int:
    """The largest power of two smaller than size, for size > 1: where RFC 6962 splits a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def _roots(groups: Sequence[Sequence[Node]], read: Reader) -> list[bytes]:
    """What each group of nodes joins to, from one read."""
    hashes = iter(_read([node for group in groups for node in group], read))
    return [join([next(hashes) for _ in group]) for group in groups]


def _read(nodes: Sequence[Node], read: Reader) -> Sequence[bytes]:
    hashes = read(nodes) if nodes else []
    if len(hashes) != len(nodes) or any(len(found) != HASH_BYTES for found in hashes):
        raise ValueError(f"the reader was asked for {len(nodes)} hashes and answered something else")
    return hashes


def _checked_size(size: int) -> int:
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"a tree cannot have {size} leaves")
    return size


def _expect_length(expected: int, proof: Sequence[bytes]) -> None:
    if len(proof) != expected:
        raise ProofError(ProofFlaw.LENGTH, f"{len(proof)} elements where index and size demand {expected}")


def _expect_hashes(hashes: Sequence[bytes]) -> None:
    for found in hashes:
        if len(found) != HASH_BYTES:
            raise ProofError(ProofFlaw.HASH, f"{len(found)} bytes")
