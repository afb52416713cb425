"""Cache tiles and entry bundles that were served, so that the next reader costs no query.

A tile of a given width never changes once a checkpoint covers it (C2SP tlog-tiles). Only a database that was restored
below a running server has another history. Readers ask for the checkpoint before they ask for tiles, so the cache is
cleared when a checkpoint is smaller than the one before.
"""

from __future__ import annotations

from collections import OrderedDict

from ledger.proof.tlog.tiles import EntryBundle, Tile

# A full tile takes 8 kB: these are the tiles over 500,000 events, with their entry bundles.
MAX_BYTES = 32 * 2**20


class TileCache:
    """Cache the most recently used tiles of one ledger. For one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Tile | EntryBundle, bytes] = OrderedDict()
        self._bytes = 0
        self._size = 0

    def get(self, address: Tile | EntryBundle) -> bytes | None:
        """Return the content, or None if it is not in the cache."""
        content = self._kept.get(address)
        if content is not None:
            self._kept.move_to_end(address)
        return content

    def keep(self, address: Tile | EntryBundle, content: bytes) -> None:
        """Keep a tile that a checkpoint covers, in place of the least recently used ones."""
        self._bytes += len(content) - len(self._kept.pop(address, b""))
        self._kept[address] = content
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[1])

    def published(self, size: int) -> None:
        """Note the size of the checkpoint that a reader gets. If the size fell, clear the cache."""
        if size < self._size:
            self._kept.clear()
            self._bytes = 0
        self._size = size
