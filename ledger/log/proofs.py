"""Inclusion proofs under the newest checkpoint, most of them in one query: tiles that were read are kept.

A tile of some width never changes while the history is the same one. That it is the same one is not taken for granted:
what a proof leads to is compared with the root that was signed, and where they differ (a database was restored below a
running server) all that is kept is thrown away and the proof made anew, of what the database has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from ledger.log import reads
from ledger.log.reads import Published
from ledger.proof.checkpoint import parse_checkpoint
from ledger.proof.merkle import HASH_BYTES, LogError, Node, inclusion_nodes, inclusion_root, join, leaf_hash
from ledger.proof.tiles import Tile, node_in_rows, rows_of, tile_of
from ledger.store import AsyncConnection

# With the nodes above its hashes a full one takes 16 kB: 8 MB. Those far up, which most proofs need, stay.
MOST_TILES = 512

Rows = Sequence[bytes]


class Proofs:
    """Makes proofs of one ledger. For one event loop."""

    def __init__(self, most: int = MOST_TILES) -> None:
        self._most = most
        self._kept: OrderedDict[Tile, Rows] = OrderedDict()
        # The newest checkpoint seen: most likely it still is, so what it takes is asked for together with it.
        self._size = 0

    async def inclusion(self, conn: AsyncConnection, position: int) -> tuple[Published | None, list[bytes]]:
        """The newest checkpoint, and the proof that its tree has the event; no proof where it does not cover it."""
        guess = _Wanted(position, self._size if position <= self._size else 0)
        guess.found, missing = self._look(guess.tiles)
        published, content = await reads.newest_with(conn, position, missing)
        if published is None or position > published.size:
            return published, []
        if published.size >= guess.size and len(content) == HASH_BYTES * sum(tile.width for tile in missing):
            guess.found |= self._keep(missing, _cut(missing, content))
        wanted = guess if published.size == guess.size else _Wanted(position, published.size)
        wanted.found, missing = self._look(wanted.tiles, guess.found)
        if missing:
            wanted.found |= self._keep(missing, await reads.contents(conn, missing))
        self._size = published.size
        proof = wanted.proof()
        if not _holds(published, position, proof):
            self._kept.clear()
            proof = await reads.inclusion(conn, position, published.size)
        return published, proof

    def _look(
        self, tiles: Sequence[Tile], more: dict[Tile, Rows] | None = None
    ) -> tuple[dict[Tile, Rows], list[Tile]]:
        """Those that are kept, or are in `more`; and those that are to be read."""
        found = {}
        missing = []
        for tile in tiles:
            if tile in self._kept:
                self._kept.move_to_end(tile)
                found[tile] = self._kept[tile]
            elif more and tile in more:
                found[tile] = more[tile]
            else:
                missing.append(tile)
        return found, missing

    def _keep(self, tiles: Sequence[Tile], contents: Sequence[bytes]) -> dict[Tile, Rows]:
        """Their rows, kept for the next proof. Raises TileError for content that is not as wide as its tile."""
        found: dict[Tile, Rows] = {}
        for tile, content in zip(tiles, contents, strict=True):
            found[tile] = rows_of(tile, content)
        self._kept |= found
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found


class _Wanted:
    """What a proof for the event in the tree of `size` takes, and what of it was found; size 0 takes nothing."""

    def __init__(self, position: int, size: int) -> None:
        self.size = size
        self._groups: Sequence[Sequence[Node]] = inclusion_nodes(position - 1, size) if size else []
        self._places = {node: tile_of(node, size) for group in self._groups for node in group}
        self.tiles = list(dict.fromkeys(self._places.values()))
        self.found: dict[Tile, Rows] = {}

    def proof(self) -> list[bytes]:
        """From the leaf to the root."""
        return [join([self._hash(node) for node in group]) for group in self._groups]

    def _hash(self, node: Node) -> bytes:
        tile = self._places[node]
        return node_in_rows(node, tile, self.found[tile])


def _cut(tiles: Sequence[Tile], content: bytes) -> list[bytes]:
    """The content of each tile, from all of them one after the other."""
    found = []
    at = 0
    for tile in tiles:
        found.append(content[at : at + HASH_BYTES * tile.width])
        at += HASH_BYTES * tile.width
    return found


def _holds(published: Published, position: int, proof: Sequence[bytes]) -> bool:
    """Whether the proof leads from the event to the root in the note."""
    try:
        root = parse_checkpoint(published.note[: published.note.index("\n\n") + 1]).root
        return inclusion_root(leaf_hash(published.event or b""), position - 1, published.size, proof) == root
    except (LogError, ValueError):
        return False
