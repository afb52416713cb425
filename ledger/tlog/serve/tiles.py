"""Read the newest checkpoint, tiles and proofs, which the transparency log serves.

The tiles of one proof come in one query. If a stored tile lacks hashes, its content is too short, which
ledger.proof.tlog.tiles refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from psycopg import sql

from ledger.database import AsyncConnection
from ledger.proof.tlog.merkle import Reader, consistency_proof, inclusion_proof
from ledger.proof.tlog.tiles import HEIGHT, WIDTH, EntryBundle, Tile, TileError, TileFlaw, reader
from ledger.tlog.tree import encode_entries

T = TypeVar("T")

PUBLISHED = sql.SQL(Path(__file__).with_name("published_checkpoint.sql").read_text("utf-8"))
NEWEST = PUBLISHED.format(which=sql.SQL("ORDER BY c.size DESC LIMIT 1")).as_string()
OF_SIZE = PUBLISHED.format(which=sql.SQL("WHERE c.size = %s")).as_string()
NO_EVENT, NO_TILE = 0, -1
ENTRIES = "SELECT hash FROM events WHERE position > %s AND position <= %s ORDER BY position"

CONTENTS = Path(__file__).with_name("contents.sql").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """A checkpoint: its size, the note with its cosignatures, and one event's hash and tile if requested."""

    size: int
    note: str
    event: bytes | None = None
    tile: bytes | None = None


class _TilesNeeded(Exception):
    """Raised to collect the tiles that a proof reads."""

    def __init__(self, tiles: Sequence[Tile]) -> None:
        super().__init__()
        self.tiles = tiles


async def published(
    conn: AsyncConnection, size: int | None = None, *, position: int = NO_EVENT, tile: int = NO_TILE
) -> PublishedCheckpoint | None:
    """Return the newest checkpoint, or the one of `size`; None without one.

    It comes with the hash of the event at `position`, and with the full tile of number `tile` at level 0, or None.
    """
    async with conn.cursor(binary=True) as cursor:
        if size is None:
            await cursor.execute(NEWEST, [position, tile], prepare=True)
        else:
            await cursor.execute(OF_SIZE, [position, tile, size], prepare=True)
        row = await cursor.fetchone()
    return None if row is None else PublishedCheckpoint(*row)


def needs(tile: Tile | EntryBundle) -> int:
    """Return the size of the smallest tree that has this tile."""
    level = tile.level if isinstance(tile, Tile) else 0
    return (tile.index * WIDTH + tile.width) << (HEIGHT * level)


async def contents(conn: AsyncConnection, tiles: Sequence[Tile]) -> list[bytes]:
    """Return the hashes of tiles that a checkpoint covers, in the order of `tiles`."""
    columns = [[tile.level for tile in tiles], [tile.index for tile in tiles], [tile.width for tile in tiles]]
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(CONTENTS, columns, prepare=True)
        return [bytes(row[0]) for row in await cursor.fetchall()]


async def entries(conn: AsyncConnection, bundle: EntryBundle) -> bytes:
    """Return the content of an entry bundle that a checkpoint covers."""
    first = bundle.index * WIDTH
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(ENTRIES, [first, first + bundle.width], prepare=True)
        hashes = [bytes(row[0]) for row in await cursor.fetchall()]
    if len(hashes) != bundle.width:
        raise TileError(TileFlaw.CONTENT, f"{bundle.path} has {len(hashes)} entries in the database")
    return encode_entries(hashes)


async def inclusion(conn: AsyncConnection, position: int, size: int) -> list[bytes]:
    """Return the proof that the tree of `size` has the event at `position`."""
    return await _read(conn, size, lambda read: inclusion_proof(position - 1, size, read))


async def consistency(conn: AsyncConnection, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of size `new` extends that of size `old`."""
    return await _read(conn, new, lambda read: consistency_proof(old, new, read))


async def _read(conn: AsyncConnection, size: int, make: Callable[[Reader], T]) -> T:
    """Call `make` twice: first to collect the tiles that it reads, then with their contents."""
    try:
        return make(reader(size, _need))
    except _TilesNeeded as needed:
        by_tile = dict(zip(needed.tiles, await contents(conn, needed.tiles), strict=True))
    return make(reader(size, lambda tiles: [by_tile[tile] for tile in tiles]))


def _need(tiles: Sequence[Tile]) -> Sequence[bytes]:
    raise _TilesNeeded(tiles)
