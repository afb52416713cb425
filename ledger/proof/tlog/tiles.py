"""Tiles: the tree stored and served in pieces of 256 hashes. Coordinates, paths, contents; no I/O.

Source: C2SP tlog-tiles; docs/formats/tlog.md section 3. Tile (level L, index N) holds the nodes of level 8L with indices
[256 N, 256 N + width). Foreign input that is not exactly so raises TileError; misuse raises ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.merkle import HASH_BYTES, MAX_SIZE, Node, Reader, RightEdge, parent_row, parents

HEIGHT = 8
WIDTH = 256
MAX_PATH_CHARS = 64
MAX_ENTRY_BYTES = 65_535
LENGTH_BYTES = 2

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?")


class TileFlaw(StrEnum):
    """Why a tile, a bundle or a path to one is refused."""

    PATH = "malformed tile path"
    RANGE = "no tree has this tile"
    CONTENT = "tile does not have its width"
    BUNDLE = "malformed entry bundle"
    ROOT = "tiles that do not lead to the signed root"


class TileError(EvidenceError):
    """The path, the tile or the bundle is not as the format says."""


@dataclass(frozen=True, slots=True)
class Tile:
    """`width` hashes (1 to 256) at tile level `level`; full at 256."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """tile/<L>/<N>[.p/<W>]."""
        return f"tile/{self.level}/{_tail(self.index, self.width)}"


@dataclass(frozen=True, slots=True)
class EntryBundle:
    """The `width` entries behind the level 0 tile `index`."""

    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """tile/entries/<N>[.p/<W>]."""
        return f"tile/entries/{_tail(self.index, self.width)}"


# One batched read: the contents of tiles, in the order asked for.
Fetch = Callable[[Sequence[Tile]], Sequence[bytes]]


def parse_path(path: str) -> Tile | EntryBundle:
    """Read `tile/...`, without a leading slash. Only the one spelling that `path` writes is accepted."""
    match = _PATH.fullmatch(path) if len(path) <= MAX_PATH_CHARS else None
    if match is None:
        raise TileError(TileFlaw.PATH, ascii(path[:MAX_PATH_CHARS]))
    kind, number, partial = match.groups()
    index = int(re.sub("[x/]", "", number))
    width = WIDTH if partial is None else int(partial)
    found = EntryBundle(index, width) if kind == "entries" else Tile(int(kind), index, width)
    if found.path != path or not width:
        raise TileError(TileFlaw.PATH, ascii(path))
    level = found.level if isinstance(found, Tile) else 0
    if (index * WIDTH + width) << (HEIGHT * level) > MAX_SIZE:
        raise TileError(TileFlaw.RANGE, path)
    return found


def width_at(level: int, index: int, size: int) -> int:
    """How wide the tile is in a tree of `size`: 0 to 256, 0 if it is not there."""
    return max(0, min(WIDTH, (size >> (HEIGHT * level)) - index * WIDTH))


def tiles_of(size: int) -> Iterator[Tile]:
    """All tiles of a tree of `size`, level by level, the partial one of each level last."""
    return new_tiles(0, size)


def new_tiles(old: int, new: int) -> Iterator[Tile]:
    """The tiles of a tree of size `new` that the tree of size `old` did not have, or had narrower."""
    level = 0
    while hashes := new >> (HEIGHT * level):
        known = old >> (HEIGHT * level)
        if known < hashes:
            for index in range(known // WIDTH, -(-hashes // WIDTH)):
                yield Tile(level, index, width_at(level, index, new))
        level += 1


def tile_of(node: Node, size: int) -> Tile:
    """The tile, as wide as a tree of `size` has it, from which the node's hash can be computed."""
    if (node.index + 1) << node.level > size:
        raise ValueError(f"a tree of {size} does not have {node}")
    level, below = divmod(node.level, HEIGHT)
    index = (node.index << below) // WIDTH
    return Tile(level, index, width_at(level, index, size))


def node_in_tile(node: Node, tile: Tile, hashes: Sequence[bytes]) -> bytes:
    """The hash of a node from the hashes of its tile (`tile_of`)."""
    level, below = divmod(node.level, HEIGHT)
    first = (node.index << below) - tile.index * WIDTH
    row = list(hashes[first : first + (1 << below)]) if level == tile.level and first >= 0 else []
    if len(row) != 1 << below:
        raise ValueError(f"{node} is not in {tile}")
    while len(row) > 1:
        row = parents(row)
    return row[0]


def rows_of(tile: Tile, content: bytes) -> list[bytes]:
    """All complete nodes within a tile: row k has the hashes of those that are k levels above the tile's own.

    For who reads many nodes of one tile: each is computed once. Raises TileError as `decode_tile` does.
    """
    _check_width(tile, content)
    rows = [content]
    while len(content) >= 2 * HASH_BYTES:
        content = parent_row(content)
        rows.append(content)
    return rows


def node_in_rows(node: Node, tile: Tile, rows: Sequence[bytes]) -> bytes:
    """The hash of a node from the rows of its tile (`tile_of`)."""
    level, above = divmod(node.level, HEIGHT)
    at = (node.index - (tile.index << (HEIGHT - above))) * HASH_BYTES
    if level != tile.level or above >= len(rows) or not 0 <= at < len(rows[above]):
        raise ValueError(f"{node} is not in {tile}")
    return rows[above][at : at + HASH_BYTES]


def reader(size: int, fetch: Fetch) -> Reader:
    """Read nodes of a tree of `size` from its tiles: one fetch, each tile once. Raises TileError for a bad tile."""

    def read(nodes: Sequence[Node]) -> list[bytes]:
        places = [tile_of(node, size) for node in nodes]
        wanted = list(dict.fromkeys(places))
        contents = zip(wanted, fetch(wanted), strict=True)
        hashes = {tile: decode_tile(tile, content) for tile, content in contents}
        return [node_in_tile(node, tile, hashes[tile]) for node, tile in zip(nodes, places, strict=True)]

    return read


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """The content of a tile: 1 to 256 hashes, one after the other."""
    if not 0 < len(hashes) <= WIDTH or any(len(found) != HASH_BYTES for found in hashes):
        raise ValueError("a tile is made of 1 to 256 hashes of 32 bytes")
    return b"".join(hashes)


def decode_tile(tile: Tile, content: bytes) -> list[bytes]:
    """The hashes of a tile. Raises TileError if there are more or fewer bytes than its width says."""
    _check_width(tile, content)
    return [content[at : at + HASH_BYTES] for at in range(0, len(content), HASH_BYTES)]


def _check_width(tile: Tile, content: bytes) -> None:
    if len(content) != tile.width * HASH_BYTES:
        raise TileError(TileFlaw.CONTENT, f"{tile.path} has {len(content)} bytes")


def encode_entries(entries: Sequence[bytes]) -> bytes:
    """The content of an entry bundle: u16 length and bytes of 1 to 256 entries."""
    if not 0 < len(entries) <= WIDTH or any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise ValueError("a bundle is made of 1 to 256 entries of at most 65535 bytes")
    return b"".join(len(entry).to_bytes(LENGTH_BYTES, "big") + entry for entry in entries)


def decode_entries(bundle: EntryBundle, content: bytes) -> list[bytes]:
    """The entries of a bundle. Raises TileError unless there are exactly as many as its width says."""
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


def _tail(index: int, width: int) -> str:
    """<N>[.p/<W>]: 1234067 is x001/x234/067."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return number if width == WIDTH else f"{number}.p/{width}"
