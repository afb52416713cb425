"""Make inclusion proofs under the newest checkpoint, most of them in one query, with a cache of tiles.

While the history stays the same, a tile only grows. So the cache keeps the widest tile of each place, which has the
nodes of the narrower ones. If a database was restored below a running server, the history changes. So the root of each
proof is compared with the signed root. If they differ, the cache is cleared and the proof is made from the database.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from ledger.database import AsyncConnection
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import parse_checkpoint
from ledger.proof.tlog.merkle import inclusion_nodes, inclusion_root, join, leaf_hash
from ledger.proof.tlog.tiles import WIDTH, Tile, TileError, TileFlaw, tile_of
from ledger.tlog.serve import tiles
from ledger.tlog.serve.tiles import NO_TILE, PublishedCheckpoint, needs
from ledger.tlog.tree import node_in_rows, rows_of

# A full tile with the nodes above its hashes takes 16 kB, the whole cache 4 MB. Tiles near the root, which most proofs
# need, stay.
MAX_TILES = 256

Rows = Sequence[bytes]


class ProofCache:
    """Make proofs of one ledger. For one event loop."""

    def __init__(self, most: int = MAX_TILES) -> None:
        self._most = most
        # Level and index of a tile, with its width and rows; the one that was used last is at the end.
        self._kept: OrderedDict[tuple[int, int], tuple[int, Rows]] = OrderedDict()

    async def inclusion(
        self, conn: AsyncConnection, position: int, size: int | None = None
    ) -> tuple[PublishedCheckpoint | None, list[bytes]]:
        """Return a checkpoint, and the proof that its tree has the event; an empty proof if it does not cover the
        event.

        The checkpoint is the newest one, or that of `size`. It takes one query if the tiles above the event's own are
        in the cache, else two, as after each new checkpoint. Raises TileError if stored tiles are not what was signed.
        """
        own = Tile(0, (position - 1) // WIDTH)
        tile = own.index if self._cached(own) is None else NO_TILE
        published = await tiles.published(conn, size, position=position, tile=tile)
        if published is None or position > published.size:
            return published, []
        proof = await self._proof(conn, position, published, own)
        if not _holds(published, position, proof):
            self._kept.clear()
            proof = await tiles.inclusion(conn, position, published.size)
            if not _holds(published, position, proof):
                raise TileError(TileFlaw.ROOT, f"the proof for position {position} in the tree of {published.size}")
        return published, proof

    async def _proof(
        self, conn: AsyncConnection, position: int, published: PublishedCheckpoint, own: Tile
    ) -> list[bytes]:
        groups = inclusion_nodes(position - 1, published.size)
        places = {node: tile_of(node, published.size) for group in groups for node in group}
        rows: dict[Tile, Rows] = {}
        if published.tile is not None and needs(own) <= published.size:
            rows[own] = self._keep(own, published.tile)
        missing = []
        for tile in dict.fromkeys(places.values()):
            cached = self._cached(tile)
            if cached is not None:
                rows[tile] = cached
            elif tile not in rows:
                missing.append(tile)
        if missing:
            contents = await tiles.contents(conn, missing)
            rows |= {tile: self._keep(tile, content) for tile, content in zip(missing, contents, strict=True)}
        return [join([node_in_rows(node, places[node], rows[places[node]]) for node in group]) for group in groups]

    def _cached(self, tile: Tile) -> Rows | None:
        width, rows = self._kept.get((tile.level, tile.index), (0, ()))
        if width < tile.width:
            return None
        self._kept.move_to_end((tile.level, tile.index))
        return rows

    def _keep(self, tile: Tile, content: bytes) -> Rows:
        """Return the rows of a tile, and cache them. Raises TileError for content of another width."""
        rows = rows_of(tile, content)
        self._kept[tile.level, tile.index] = (tile.width, rows)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return rows


def _holds(published: PublishedCheckpoint, position: int, proof: Sequence[bytes]) -> bool:
    """Return whether the proof leads from the event to the root in the note."""
    try:
        root = parse_checkpoint(published.note[: published.note.index("\n\n") + 1]).root
        return inclusion_root(leaf_hash(published.event or b""), position - 1, published.size, proof) == root
    except (EvidenceError, ValueError):
        return False
