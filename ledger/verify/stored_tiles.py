"""Compare the stored tiles of the transparency log with the tiles that the events make: part of step 10.

Holding the tiles of a whole chain would take memory without bound. So the sums of a keyed hash are compared, as for
versions (ledger/verify/stream_versions.py): equal sums mean equal tiles. Only if the sums differ, the hashes are read
again to find the first tile that differs.
"""

from __future__ import annotations

import secrets
import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from psycopg import sql

from ledger.database import Connection
from ledger.proof.findings import CHAIN, CHANGES, Finding, Findings, Kind
from ledger.proof.tlog.merkle import HASH_BYTES, leaf_hashes
from ledger.proof.tlog.tiles import HEIGHT, WIDTH, Tile
from ledger.store.copy import columns, copy_rows, number
from ledger.tlog.serve.newest_checkpoint import newest_size
from ledger.tlog.sign.state_file import edge_after
from ledger.tlog.tree import Row, grow

HERE = Path(__file__).parent
OTHER_TILES, OTHER_EDGE = ((HERE / f"{name}.sql").read_bytes() for name in ("other_tiles", "other_edge"))
STORED = sql.SQL(
    "COPY (SELECT level::bigint, number, hashes FROM tiles WHERE number >= {size} >> 8 * (level + 1))"
    " TO STDOUT (FORMAT BINARY)"
)
LEVELS = "SELECT level, max(number) + 1 FROM tiles GROUP BY level ORDER BY level"
HASHES = "SELECT hash FROM events WHERE position > %s ORDER BY position LIMIT %s"
TILE_BYTES = WIDTH * HASH_BYTES
# The number of events whose tiles are made again at once, to find the first tile that differs.
CHUNK = 4096
# Findings that explain a difference between tiles and events.
EXPLAINED_BY = CHANGES | {Kind.FORKED, Kind.ROLLED_BACK, Kind.GENESIS_MISMATCH, Kind.HEAD_MISMATCH}

_place = struct.Struct(">hq")


class StoredTiles:
    """Compare the tiles of one verification: call `add` with the nodes of the tree, then `compare`, all in one
    snapshot."""

    def __init__(self, conn: Connection) -> None:
        """Read how many full tiles of each level are stored, and the size of the newest checkpoint."""
        self.signed = newest_size(conn)
        # For each level, one more than the number of the last stored tile.
        self._stored = {int(level): int(count) for level, count in conn.execute(LEVELS).fetchall()}
        self._key = secrets.token_bytes(32)
        self._sum = 0
        self._made: dict[int, int] = defaultdict(int)
        self._waiting: dict[int, bytes] = defaultdict(bytes)
        # The partial tiles at the size of the newest checkpoint, by level.
        self._edge: dict[int, bytes] | None = None
        # The size and partial tiles of the tree before the next `add`.
        self._size = 0
        self._from: Mapping[int, bytes] = {}

    def begin(self, size: int, edge: Mapping[int, bytes]) -> None:
        """Begin with a tree of `size`; `edge` has the content of the partial tile of each level that has one."""
        self._size, self._from = size, edge
        self._waiting.update(edge)
        self._made.update(_full_tiles(size))

    @property
    def count(self) -> int:
        """Return the number of full tiles that should be stored behind the start."""
        return sum(self._stored.values()) - sum(count for _, count in _full_tiles(self._size))

    def add(self, rows: Iterable[Row], size: int) -> None:
        """Add the nodes that the tree completed when it grew to `size`."""
        for row in rows:
            level, between = divmod(row.level, HEIGHT)
            if not between:
                self._take(level, row.hashes)
        if size == self.signed:
            self._edge = {level: content for level, content in self._waiting.items() if level and content}

    def _take(self, level: int, hashes: Sequence[bytes]) -> None:
        content = self._waiting[level] + b"".join(hashes)
        whole = len(content) // TILE_BYTES * TILE_BYTES
        for at in range(0, whole, TILE_BYTES):
            if self._made[level] < self._stored.get(level, 0):
                self._sum += self._term(level, self._made[level], content[at : at + TILE_BYTES])
            self._made[level] += 1
        self._waiting[level] = content[whole:]

    def _term(self, level: int, index: int, content: bytes) -> int:
        digest = blake2b(content, digest_size=16, key=self._key, person=_place.pack(level, index)).digest()
        return int.from_bytes(digest, "big")

    def compare(self, conn: Connection, last: int, findings: Findings) -> None:
        """Add a finding for the first wrong tile, unless other findings explain it. `last` is the last position."""
        if findings.any(*EXPLAINED_BY):
            return
        finding = self._beyond(last) or self._first_wrong(conn, last)
        if finding is not None:
            findings.add(finding.kind, finding.position, finding.message)

    def _beyond(self, last: int) -> Finding | None:
        """Find a stored tile that covers more events than exist."""
        for level, count in self._stored.items():
            upto = count << HEIGHT * (level + 1)
            if upto > last:
                what = f"{Tile(level, count - 1).path} has events up to position {upto}, and there are {last}"
                message = f"{what}: events are missing at the end, or somebody added the tile"
                return CHAIN.finding(Kind.PROOF_MISMATCH, last + 1, message)
        return None

    def _first_wrong(self, conn: Connection, last: int) -> Finding | None:
        signed = min(self.signed, last)
        short = any(self._stored.get(level, 0) < count for level, count in _full_tiles(signed))
        if short or self._sum != sum(self._stored_terms(conn)):
            return self._first_other_tile(conn, last, signed)
        return None if self._edge is None else other_edge(conn, self.signed, self._edge)

    def _stored_terms(self, conn: Connection) -> Iterable[int]:
        for row in copy_rows(conn, STORED.format(size=sql.Literal(self._size)).as_bytes(conn)):
            level, index, content = columns(row)
            yield self._term(number(level), number(index), content or b"")

    def _first_other_tile(self, conn: Connection, last: int, signed: int) -> Finding | None:
        """Make the tiles again from the hashes of events; find the first that differs from the stored one or is
        missing."""
        size, edge = self._size, dict(self._from)
        while size < last:
            leaves = leaf_hashes([bytes(digest) for (digest,) in conn.execute(HASHES, [size, CHUNK]).fetchall()])
            if not leaves:
                return None
            grown = grow(size, edge, leaves)
            size, edge = grown.size, edge_after(edge, grown)
            finding = other_tile(
                conn, [(tile, content) for tile, content in grown.tiles if tile.width == WIDTH], signed
            )
            if finding is not None:
                return finding
        return None


def _full_tiles(size: int) -> Iterable[tuple[int, int]]:
    """Yield each level of a tree of `size` that has full tiles, and their number."""
    level = 0
    while count := size >> HEIGHT * (level + 1):
        yield level, count
        level += 1


def other_tile(conn: Connection, full: Sequence[tuple[Tile, bytes]], signed: int) -> Finding | None:
    """Find the first of these full tiles that differs from the stored one, or is missing although `signed` events
    cover it."""
    parameters = {
        "levels": [tile.level for tile, _ in full],
        "numbers": [tile.index for tile, _ in full],
        "hashes": [content for _, content in full],
        "signed": signed,
    }
    other = conn.execute(OTHER_TILES, parameters, binary=True).fetchone() if full else None
    if other is None:
        return None
    level, index, made, stored = other
    return _wrong(Tile(int(level), int(index)), _first_other(made, stored or b""))


def other_edge(conn: Connection, size: int, edge: Mapping[int, bytes]) -> Finding | None:
    """Find the first wrong partial tile of the newest checkpoint, of `size` events. Level 0 is not stored."""
    levels = [level for level in sorted(edge) if level]
    numbers = [size >> (HEIGHT * (level + 1)) for level in levels]
    parameters = {"levels": levels, "numbers": numbers, "hashes": [edge[level] for level in levels]}
    other = conn.execute(OTHER_EDGE, parameters, binary=True).fetchone() if levels else None
    return None if other is None else _wrong(Tile(int(other[0]), int(other[1]), len(edge[other[0]]) // HASH_BYTES))


def _first_other(made: bytes, stored: bytes) -> int:
    """Return the index of the first hash of a full tile that differs from the stored one."""
    wrong = (at for at in range(0, len(made), HASH_BYTES) if made[at : at + HASH_BYTES] != stored[at : at + HASH_BYTES])
    return next(wrong, 0) // HASH_BYTES


def _wrong(tile: Tile, index: int = 0) -> Finding:
    """Report a stored tile in which this hash is wrong. The position is that of the first event below the hash."""
    first = (((tile.index << HEIGHT) + index) << (HEIGHT * tile.level)) + 1
    return CHAIN.finding(Kind.PROOF_MISMATCH, first, f"{tile.path} is not what the events make")
