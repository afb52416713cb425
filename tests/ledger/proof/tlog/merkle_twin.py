"""A naive twin of ledger/proof/tlog/merkle.py, a store to read nodes from, and how tests say "refused"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

from ledger.proof.tlog.merkle import Node, ProofError, ProofFlaw, check_consistency, check_inclusion, leaf_hashes
from ledger.tlog.tree import RightEdge

LARGEST = 130
ENTRIES = [sha256(b"event %d" % i).digest() for i in range(LARGEST)]
LEAVES = leaf_hashes(ENTRIES)


# The twin: RFC 6962 section 2.1 word for word, recursive, over the entries [lo, hi).


@cache
def mth(lo: int, hi: int) -> bytes:
    """MTH(D[lo:hi])."""
    if lo == hi:
        return sha256().digest()
    if hi - lo == 1:
        return sha256(b"\x00" + ENTRIES[lo]).digest()
    k = power_below(hi - lo)
    return sha256(b"\x01" + mth(lo, lo + k) + mth(lo + k, hi)).digest()


def power_below(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path(m: int, lo: int, hi: int) -> list[bytes]:
    """PATH(m, D[lo:hi]), section 2.1.1."""
    if hi - lo == 1:
        return []
    k = power_below(hi - lo)
    if m < k:
        return [*path(m, lo, lo + k), mth(lo + k, hi)]
    return [*path(m - k, lo + k, hi), mth(lo, lo + k)]


def subproof(m: int, lo: int, hi: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[lo:hi], whole), section 2.1.2."""
    n = hi - lo
    if m == n:
        return [] if whole else [mth(lo, hi)]
    k = power_below(n)
    if m <= k:
        return [*subproof(m, lo, lo + k, whole=whole), mth(lo + k, hi)]
    return [*subproof(m - k, lo + k, hi, whole=False), mth(lo, lo + k)]


class Store:
    """The nodes that growing trees hand over, and how often they were read."""

    def __init__(self) -> None:
        self.edge = RightEdge()
        self.nodes: dict[Node, bytes] = {}
        self.reads = 0

    def extend(self, leaves: Sequence[bytes]) -> None:
        for row in self.edge.extend(leaves):
            for at, found in enumerate(row.hashes, row.start):
                assert self.nodes.setdefault(Node(row.level, at), found) is found, "a complete node is given once"

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        self.reads += 1
        return [self.nodes[node] for node in nodes]


def inclusion_flaw(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> ProofFlaw | None:
    """The name under which the proof is refused, None if it is accepted."""
    try:
        check_inclusion(leaf, index, size, proof, root)
    except ProofError as error:
        return ProofFlaw(error.flaw)
    return None


def consistency_flaw(old: int, new: int, roots: tuple[bytes, bytes], proof: Sequence[bytes]) -> ProofFlaw | None:
    """The name under which the proof is refused, None if it is accepted."""
    try:
        check_consistency(old, new, *roots, proof)
    except ProofError as error:
        return ProofFlaw(error.flaw)
    return None
