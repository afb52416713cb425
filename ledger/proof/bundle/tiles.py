"""Check that a bundle's tiles lead to the root: docs/formats/bundle.md, section 4. Memory: one tile of each level."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

from ledger.proof.bundle.manifest import LEVELS, Bundle, tiles_name
from ledger.proof.bundle.zip import BundleError, BundleFlaw, Member
from ledger.proof.findings import Findings, Kind
from ledger.proof.tlog.merkle import HASH_BYTES, parent_row, root_at
from ledger.proof.tlog.tiles import HEIGHT, WIDTH, Tile, reader

TILE_BYTES = WIDTH * HASH_BYTES
INDEX = struct.Struct(">Q")
RECORD_BYTES = INDEX.size + TILE_BYTES


def edge_widths(size: int) -> list[int]:
    """Return the width of the partial tile of each level, 0 for none: the digits of the size in base 256."""
    widths = []
    while size:
        size, width = divmod(size, WIDTH)
        widths.append(width)
    return widths


def cut_edge(size: int, data: bytes) -> dict[int, bytes]:
    """Cut the member `edge` into the partial tiles by level. Raises BundleError if it has another length."""
    widths = edge_widths(size)
    if len(data) != sum(widths) * HASH_BYTES:
        raise BundleError(BundleFlaw.EDGE, f"{len(data)} bytes, where size {size} has {sum(widths)} hashes")
    edge, at = {}, 0
    for level, width in enumerate(widths):
        if width:
            edge[level] = data[at : at + width * HASH_BYTES]
            at += width * HASH_BYTES
    return edge


def edge_root(size: int, edge: Mapping[int, bytes]) -> bytes:
    """Return the root of a tree over its partial tiles."""

    def fetch(tiles: Sequence[Tile]) -> list[bytes]:
        return [edge.get(tile.level, b"") for tile in tiles]

    return root_at(size, reader(size, fetch))


def tile_root(content: bytes) -> bytes:
    """Return the root over a full tile."""
    while len(content) > HASH_BYTES:
        content = parent_row(content)
    return content


class TileReader:
    """Yield level 0 tiles in order of index, each after it is shown to lead to the root."""

    def __init__(self, bundle: Bundle, size: int, root: bytes, findings: Findings) -> None:
        self._size = size
        self._findings = findings
        self._edge = cut_edge(size, bundle.edge)
        if edge_root(size, self._edge) != root:
            findings.add(Kind.PROOF_MISMATCH, 0, "the edge of the tree does not lead to the root of the checkpoint")
        files = {level: bundle.files[tiles_name(level)] for level in range(LEVELS) if tiles_name(level) in bundle.files}
        if empty := [member.name for member in files.values() if not member.size]:
            raise BundleError(BundleFlaw.TILES, f"{empty[0]} is empty")
        self._streams = {level: _records(member) for level, member in files.items()}
        self._waiting: dict[int, tuple[int, bytes]] = {}
        self._shown: dict[int, tuple[int, bytes | None]] = {}
        self.count = 0

    def tile(self, index: int, level: int = 0) -> bytes | None:
        """Return the hashes of a tile; None, and a finding, if it is missing or does not lead to the root."""
        if index == self._size >> (HEIGHT * (level + 1)):
            return self._edge.get(level)
        held = self._shown.get(level)
        if held is None or held[0] != index:
            self._shown[level] = held = (index, self._proven(index, level))
        return held[1]

    def finish(self, *, explained: bool) -> None:
        """Check that no tile is left after the last event. `explained`: findings about events explain it."""
        if explained:
            return
        for level, stream in self._streams.items():
            if level in self._waiting or next(stream, None) is not None:
                self._findings.add(Kind.PROOF_MISMATCH, 0, f"{tiles_name(level)} has a tile that no event needs")

    def _proven(self, index: int, level: int) -> bytes | None:
        content = self._next(index, level)
        first = (index * WIDTH << (HEIGHT * level)) + 1
        if content is None:
            message = f"{Tile(level, index).path} is missing: nothing shows that these events are in the log"
            self._findings.add(Kind.PROOF_MISMATCH, first, message)
            return None
        above = self.tile(index // WIDTH, level + 1)
        if above is None:
            return None  # a finding was added for it
        at = index % WIDTH * HASH_BYTES
        if above[at : at + HASH_BYTES] != tile_root(content):
            message = f"{Tile(level, index).path} does not lead to the root of the checkpoint"
            self._findings.add(Kind.PROOF_MISMATCH, first, message)
            return None
        self.count += 1
        return content

    def _next(self, index: int, level: int) -> bytes | None:
        """Return the next record of a level if it is this tile. Skip a record of an earlier tile with a finding."""
        while True:
            record = self._waiting.pop(level, None)
            if record is None and level in self._streams:
                record = next(self._streams[level], None)
            if record is None:
                return None
            if record[0] == index:
                return record[1]
            if record[0] > index:
                self._waiting[level] = record
                return None
            message = f"{tiles_name(level)} has tile {record[0]}, which no event needs there"
            self._findings.add(Kind.PROOF_MISMATCH, 0, message)


def _records(member: Member) -> Iterator[tuple[int, bytes]]:
    """Yield index and hashes of each record. Raises BundleError if the member ends within a record."""
    rest = b""
    for chunk in member.chunks():
        data = rest + chunk
        whole = len(data) - len(data) % RECORD_BYTES
        for at in range(0, whole, RECORD_BYTES):
            yield INDEX.unpack_from(data, at)[0], data[at + INDEX.size : at + RECORD_BYTES]
        rest = data[whole:]
    if rest:
        raise BundleError(BundleFlaw.TILES, f"{member.name} ends within a tile")
