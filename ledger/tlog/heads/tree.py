"""Build the tree of stream heads: docs/formats/bundle.md, section 11. Values only, no I/O; memory is one path.

A subtree with one leaf is that leaf, and a subtree without leaves is a hash that looks like any other hash. Salts and
those hashes come from a secret of 32 bytes, the blinding, so that a path shows nothing of its neighbours.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.proof.bundle.heads import BITS, leaf
from ledger.proof.format.hashes import HASH_BYTES
from ledger.proof.tlog.merkle import node_hash

# A key and its value.
Entry = tuple[bytes, bytes]


@dataclass
class HeadsTree:
    """The root, the number of leaves, and the path from the leaf at `wanted`; without it, `value` is None."""

    root: bytes = b""
    leaves: int = 0
    value: bytes | None = None
    salt: bytes = b""
    path: list[bytes] = field(default_factory=list)


def build(entries: Iterable[Entry], blinding: bytes, wanted: bytes | None = None) -> HeadsTree:
    """Build the tree from entries in order of their keys, each key once. Raises ValueError without entries."""
    builder = _Builder(blinding, wanted)
    before: tuple[int, Entry] | None = None
    shared = -1
    for entry in entries:
        key = int.from_bytes(entry[0], "big")
        if before is not None:
            # The number of leading bits that both keys share. Their paths separate at that depth.
            parts = BITS - (before[0] ^ key).bit_length()
            builder.close(*before, max(shared, parts) + 1, parts + 1)
            shared = parts
        before = key, entry
    if before is None:
        raise ValueError("a tree of stream heads has a leaf")
    builder.close(*before, shared + 1, 0)
    return builder.tree


class _Builder:
    """Build the tree from left to right. `_left`: by depth, the finished left child where the path goes right."""

    def __init__(self, blinding: bytes, wanted: bytes | None) -> None:
        self.tree = HeadsTree()
        self._blinding = blinding
        self._wanted = wanted
        self._wanted_bits = None if wanted is None else int.from_bytes(wanted, "big")
        self._left: dict[int, bytes] = {}

    def close(self, bits: int, entry: Entry, depth: int, upto: int) -> None:
        """Add a leaf at `depth`, and finish all subtrees on its path down to those at depth `upto`."""
        key, value = entry
        salt = hmac.digest(self._blinding, b"salt" + key, "sha256")
        digest = leaf(key, salt, value)
        self.tree.leaves += 1
        if key == self._wanted:
            self.tree.value, self.tree.salt = value, salt
        for above in range(depth - 1, upto - 1, -1):
            digest = self._join(bits, above, digest)
        if upto:
            self._left[upto - 1] = digest
        else:
            self.tree.root = digest

    def _join(self, bits: int, depth: int, digest: bytes) -> bytes:
        """Return the node at `depth` over this child and its sibling."""
        if bits >> (BITS - 1 - depth) & 1:
            left, right = self._left.pop(depth, None) or self._empty(bits, depth), digest
        else:
            left, right = digest, self._empty(bits, depth)
        if self._wanted_bits is not None and (self._wanted_bits ^ bits) >> (BITS - depth) == 0:
            self.tree.path.append(left if self._wanted_bits >> (BITS - 1 - depth) & 1 else right)
        return node_hash(left, right)

    def _empty(self, bits: int, depth: int) -> bytes:
        """Return the hash of the empty subtree that is the sibling on the path of `bits`, below the node at `depth`."""
        prefix = (bits >> (BITS - 1 - depth) ^ 1) << (BITS - 1 - depth)
        place = (depth + 1).to_bytes(2, "big") + prefix.to_bytes(HASH_BYTES, "big")
        return hmac.digest(self._blinding, b"empty" + place, "sha256")
