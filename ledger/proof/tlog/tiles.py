"""Define tiles, the tree in pieces of 256 hashes: coordinates, paths and contents. No I/O.

Source: C2SP tlog-tiles; docs/formats/tlog.md section 3. Tile (level L, index N) holds the nodes of level 8L with
indices [256 N, 256 N + width). Malformed input raises TileError; misuse raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.merkle import HASH_BYTES, Node, Reader, parents

HEIGHT = 8
WIDTH = 256
MAX_ENTRY_BYTES = 65_535
LENGTH_BYTES = 2


class TileFlaw(StrEnum):
    """The reasons for which a tile, a bundle or a path to one is refused."""

    PATH = "malformed tile path"
    RANGE = "no tree has this tile"
    CONTENT = "tile does not have its width"
    BUNDLE = "malformed entry bundle"
    ROOT = "tiles that do not lead to the signed root"


class TileError(EvidenceError):
    """The path, the tile or the bundle does not conform to the format."""


@dataclass(frozen=True, slots=True)
class Tile:
    """`width` hashes (1 to 256) at tile level `level`; full at 256."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Return tile/<L>/<N>[.p/<W>]."""
        return f"tile/{self.level}/{_tail(self.index, self.width)}"


@dataclass(frozen=True, slots=True)
class EntryBundle:
    """The `width` entries behind the level 0 tile `index`."""

    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Return tile/entries/<N>[.p/<W>]."""
        return f"tile/entries/{_tail(self.index, self.width)}"


# One batched read: the contents of tiles, in the order of the tiles.
Fetch = Callable[[Sequence[Tile]], Sequence[bytes]]


def width_at(level: int, index: int, size: int) -> int:
    """Return the width of a tile in a tree of `size`: 0 to 256, 0 if the tree does not have the tile."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - index * WIDTH))


def tile_of(node: Node, size: int) -> Tile:
    """Return the tile, as wide as in a tree of `size`, from which the node's hash can be computed."""
    if (node.index + 1) << node.level > size:
        raise ValueError(f"a tree of {size} does not have {node}")
    level, below = divmod(node.level, HEIGHT)
    index = (node.index << below) // WIDTH
    return Tile(level, index, width_at(level, index, size))


def node_in_tile(node: Node, tile: Tile, hashes: Sequence[bytes]) -> bytes:
    """Return the hash of a node from the hashes of its tile (`tile_of`)."""
    level, below = divmod(node.level, HEIGHT)
    first = (node.index << below) - tile.index * WIDTH
    row = list(hashes[first : first + (1 << below)]) if level == tile.level and first >= 0 else []
    if len(row) != 1 << below:
        raise ValueError(f"{node} is not in {tile}")
    while len(row) > 1:
        row = parents(row)
    return row[0]


def reader(size: int, fetch: Fetch) -> Reader:
    """Read nodes of a tree of `size` from its tiles: one fetch, each tile once. Raises TileError for a bad tile."""

    def read(nodes: Sequence[Node]) -> list[bytes]:
        places = [tile_of(node, size) for node in nodes]
        wanted = list(dict.fromkeys(places))
        contents = zip(wanted, fetch(wanted), strict=True)
        hashes = {tile: decode_tile(tile, content) for tile, content in contents}
        return [node_in_tile(node, tile, hashes[tile]) for node, tile in zip(nodes, places, strict=True)]

    return read


def decode_tile(tile: Tile, content: bytes) -> list[bytes]:
    """Return the hashes of a tile. Raises TileError if there are more or fewer bytes than its width says."""
    check_width(tile, content)
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def check_width(tile: Tile, content: bytes) -> None:
    """Raise TileError unless the content has as many hashes as the width says."""
    if len(content) != tile.width * HASH_BYTES:
        raise TileError(TileFlaw.CONTENT, f"{tile.path} has {len(content)} bytes")


def decode_entries(bundle: EntryBundle, content: bytes) -> list[bytes]:
    """Return the entries of a bundle. Raises TileError unless their number is its width."""
    entries: list[bytes] = []
    at = 0
    for _ in range(bundle.width):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(content[at:start], "big")
        if at > len(content):
            raise TileError(TileFlaw.BUNDLE, f"{bundle.path} ends within entry {len(entries)}")
        entries.append(content[start:at])
    if at != len(content):
        raise TileError(TileFlaw.BUNDLE, f"{bundle.path} has {len(content) - at} bytes after its last entry")
    return entries


def _tail(index: int, width: int) -> str:
    """Return <N>[.p/<W>]: 1234067 is x001/x234/067."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return number if width == WIDTH else f"{number}.p/{width}"
