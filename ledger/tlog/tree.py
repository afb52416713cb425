"""Grow the tree of a log in tiles, and read nodes from tiles. Values only, no I/O.

Source: C2SP tlog-tiles; docs/formats/tlog.md section 3. The checks are in ledger/proof/tlog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.proof.tlog.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    Node,
    Reader,
    checked_size,
    complete_nodes,
    join,
    parent_row,
    parents,
    read_nodes,
)
from ledger.proof.tlog.tiles import HEIGHT, LENGTH_BYTES, MAX_ENTRY_BYTES, WIDTH, Tile, check_width, reader, width_at


@dataclass(frozen=True, slots=True)
class Row:
    """Nodes of one level that a growing tree completed: `hashes[i]` is the node (level, start + i)."""

    level: int
    start: int
    hashes: Sequence[bytes]


class RightEdge:
    """A tree that can grow: its size, and the roots of the complete nodes it is cut into, at most 63."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: dict[int, bytes] = {}  # level -> hash; level l is there if bit l of size is set

    @classmethod
    def at(cls, size: int, read: Reader) -> RightEdge:
        """Return the right edge of a stored tree, with one read of at most 63 nodes."""
        edge = cls()
        nodes = complete_nodes(0, checked_size(size))
        edge._peaks = {node.level: peak for node, peak in zip(nodes, read_nodes(nodes, read), strict=True)}
        edge.size = size
        return edge

    def extend(self, leaves: Sequence[bytes]) -> list[Row]:
        """Append leaf hashes. Return the nodes that this completed, level by level from 0: a store has to add them.

        Cost: about two hashes for each leaf, and the rows in memory. Feed long logs in batches.
        """
        if set(map(len, leaves)) - {HASH_BYTES}:
            raise ValueError("a leaf hash is not 32 bytes")
        checked_size(self.size + len(leaves))
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
        """Return the root at the present size."""
        peaks = [self._peaks[level] for level in sorted(self._peaks, reverse=True)]
        return join(peaks) if peaks else EMPTY_ROOT


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield all tiles of a tree of `size`, level by level, the partial one of each level last."""
    return new_tiles(0, size)


def new_tiles(old: int, new: int) -> Iterator[Tile]:
    """Yield the tiles of a tree of size `new` that the tree of size `old` did not have, or had narrower."""
    level = 0
    while hashes := new >> (HEIGHT * level):
        known = old >> (HEIGHT * level)
        if known < hashes:
            for index in range(known // WIDTH, -(-hashes // WIDTH)):
                yield Tile(level, index, width_at(level, index, new))
        level += 1


@dataclass(frozen=True, slots=True)
class Growth:
    """A tree after a batch: its size and root, and each tile that is new or wider, full ones and partial ones."""

    size: int
    root: bytes
    tiles: Sequence[tuple[Tile, bytes]]


def grow(size: int, edge: Mapping[int, bytes], leaves: Sequence[bytes]) -> Growth:
    """Append leaf hashes to a tree of `size`. `edge`: the content of the partial tile of each level that has one.

    Raises TileError if `edge` is not the edge of a tree of that size.
    """

    def fetch(tiles: Sequence[Tile]) -> list[bytes]:
        return [edge.get(tile.level, b"") for tile in tiles]

    right = RightEdge.at(size, reader(size, fetch))
    written: list[tuple[Tile, bytes]] = []
    for row in right.extend(leaves):
        level, between = divmod(row.level, HEIGHT)
        if not between:
            first, waiting = divmod(row.start, WIDTH)
            content = (edge[level] if waiting else b"") + b"".join(row.hashes)
            written.extend(_cut(level, first, content))
    return Growth(right.size, right.root(), written)


def _cut(level: int, first: int, content: bytes) -> Iterator[tuple[Tile, bytes]]:
    """Cut the hashes of one level, from tile `first` on, into tiles."""
    for number, at in enumerate(range(0, len(content), WIDTH * HASH_BYTES)):
        piece = content[at : at + WIDTH * HASH_BYTES]
        yield Tile(level, first + number, len(piece) // HASH_BYTES), piece


def rows_of(tile: Tile, content: bytes) -> list[bytes]:
    """Return all complete nodes within a tile: row k has the hashes of the nodes k levels above the tile's own.

    This is for callers that read many nodes of one tile: each is computed once. Raises TileError as `decode_tile`
    does.
    """
    check_width(tile, content)
    rows = [content]
    while len(content) >= 2 * HASH_BYTES:
        content = parent_row(content)
        rows.append(content)
    return rows


def node_in_rows(node: Node, tile: Tile, rows: Sequence[bytes]) -> bytes:
    """Return the hash of a node from the rows of its tile (`tile_of`)."""
    level, above = divmod(node.level, HEIGHT)
    at = (node.index - (tile.index << (HEIGHT - above))) * HASH_BYTES
    if level != tile.level or above >= len(rows) or not 0 <= at < len(rows[above]):
        raise ValueError(f"{node} is not in {tile}")
    return rows[above][at : at + HASH_BYTES]


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """Return the content of a tile: 1 to 256 hashes, one after the other."""
    if not 0 < len(hashes) <= WIDTH or any(len(digest) != HASH_BYTES for digest in hashes):
        raise ValueError("a tile is made of 1 to 256 hashes of 32 bytes")
    return b"".join(hashes)


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """Return the content of an entry bundle: u16 length and bytes of each of 1 to 256 entries."""
    if not 0 < len(entries) <= WIDTH or any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise ValueError("a bundle is made of 1 to 256 entries of at most 65535 bytes")
    return b"".join(len(entry).to_bytes(LENGTH_BYTES, "big") + entry for entry in entries)
