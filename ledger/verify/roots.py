"""Compute Merkle roots at some sizes while events stream past, in flat memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger.proof.tlog.merkle import EMPTY_ROOT, leaf_hashes
from ledger.tlog.tree import RightEdge
from ledger.verify.stored_tiles import StoredTiles

# The number of leaves that are added to the tree at once.
BATCH = 4096


class Roots:
    """Compute the Merkle root at the requested sizes while events stream past. `tiles` gets the nodes that the tree
    completes.

    After a gap in the positions, no more roots are computed.
    """

    def __init__(self, sizes: Iterable[int], tiles: StoredTiles) -> None:
        self._tiles = tiles
        self._sizes = sorted({*sizes, tiles.signed}, reverse=True)
        self._edge = RightEdge()
        self._waiting: list[bytes] = []
        self._last = 0
        self._whole = True
        self.found: dict[int, bytes] = {}
        if self._sizes[-1:] == [0]:
            self.found[self._sizes.pop()] = EMPTY_ROOT

    def begin(self, edge: RightEdge, found: Mapping[int, bytes]) -> None:
        """Begin behind the tree with this right edge. `found` are the roots at the requested sizes up to there."""
        self._edge, self._last = edge, edge.size
        self._sizes = [size for size in self._sizes if size > edge.size]
        self.found.update(found)

    def add(self, position: int, recorded: bytes) -> None:
        """Add the hash of the event at the next position."""
        self._whole = self._whole and position == self._last + 1
        if not self._whole:
            return
        self._last = position
        self._waiting.append(recorded)
        if self._sizes and position == self._sizes[-1]:
            self.found[self._sizes.pop()] = self._root()
        elif len(self._waiting) == BATCH:
            self._take()

    def at_last(self) -> bytes | None:
        """Return the root over all events so far; None after a gap."""
        return self._root() if self._whole else None

    def finish(self) -> None:
        """Add the last events to the tree, after the last call of `add`."""
        self._take()

    def _root(self) -> bytes:
        self._take()
        return self._edge.root()

    def _take(self) -> None:
        rows = self._edge.extend(leaf_hashes(self._waiting))
        self._waiting.clear()
        self._tiles.add(rows, self._edge.size)
