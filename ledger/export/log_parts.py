"""Write the parts of a bundle that come from the transparency log: edge, consistency proof, keys, rotations,
timestamps."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ledger.database import Connection
from ledger.export.bundle_writer import BundleWriter, encode_consistency, encode_rotations
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.tiles import edge_widths
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.proof.tlog.key_rotation import MAX_ROTATIONS
from ledger.proof.tlog.merkle import HASH_BYTES, consistency_proof, leaf_hashes
from ledger.proof.tlog.note import parse as parse_note
from ledger.proof.tlog.tiles import HEIGHT, WIDTH, Tile, reader
from ledger.store.head import read_head
from ledger.tlog.serve.tiles import ENTRIES
from ledger.tlog.sign.recorded_rotations import RecordedRotation, recorded_rotations

TIMESTAMPS = "SELECT authority, token FROM checkpoint_timestamps WHERE size = %s ORDER BY authority LIMIT %s"
TILE = """
    SELECT hashes FROM tiles WHERE level = %(level)s AND number = %(number)s
    UNION ALL
    SELECT hashes FROM partial_tiles WHERE level = %(level)s AND number = %(number)s
"""


class CannotExport(Exception):
    """The selection has no events, or no checkpoint covers it. The message says what to do."""


def checkpoint_of(note: bytes, name: str) -> Checkpoint:
    """Parse the checkpoint in a note, without verifying it. Raises CannotExport, which calls it `name`."""
    try:
        return parse_checkpoint(parse_note(note).text)
    except EvidenceError as error:
        raise CannotExport(f"the {name} checkpoint is malformed: {error}") from error


def rotations_of(conn: Connection) -> list[RecordedRotation]:
    """Return the newest MAX_ROTATIONS rotations of the signing key."""
    head = read_head(conn)
    return recorded_rotations(conn, "" if head is None else head.origin)[-MAX_ROTATIONS:]


def add_beside(
    conn: Connection,
    manifest: Manifest,
    keys: Sequence[str],
    rotations: Sequence[RecordedRotation],
    writer: BundleWriter,
) -> None:
    """Add the evidence for the checkpoint: keys (also those of rotations), the rotations, and timestamps."""
    known = dict.fromkeys((*keys, *(key.text for each in rotations for key in (each.rotation.old, each.rotation.new))))
    writer.add(bundle.KEYS, "".join(f"{key}\n" for key in known).encode())
    if rotations:
        writer.add(bundle.ROTATIONS, encode_rotations(each.rotation for each in rotations))
    timestamps = conn.execute(TIMESTAMPS, [manifest.checkpoint_size, bundle.MOST_STAMPS]).fetchall()
    for number, (_, token) in enumerate(timestamps, 1):
        writer.add(bundle.stamp_name(number), bytes(token))
    manifest.timestamps = tuple(str(authority) for authority, _ in timestamps)


def consistency(conn: Connection, old: Checkpoint, size: int, origin: str) -> bytes:
    """Return the member `consistency`, from an older checkpoint to `size`. Raises CannotExport."""
    if old.origin != origin:
        raise CannotExport(f"the older checkpoint is of {old.origin!a}, and this ledger is {origin!a}")
    if not 0 < old.size <= size:
        raise CannotExport(f"the older checkpoint has size {old.size}, and the one to export with {size}")
    proof = consistency_proof(old.size, size, reader(size, lambda tiles: fetch_tiles(conn, tiles)))
    return encode_consistency(old.size, [base64.b64encode(element).decode() for element in proof])


def edge(conn: Connection, size: int) -> bytes:
    """Return the member `edge`: the partial tile of each level.

    Raises CannotExport if the transparency log lacks one.
    """
    widths = enumerate(edge_widths(size))
    return b"".join(
        fetch_tiles(conn, [Tile(level, size >> (HEIGHT * (level + 1)), width) for level, width in widths if width])
    )


def fetch_tiles(conn: Connection, tiles: Sequence[Tile]) -> list[bytes]:
    """Read tiles, including partial ones. Raises CannotExport if the transparency log lacks one."""
    return [_tile(conn, tile) for tile in tiles]


def _tile(conn: Connection, tile: Tile) -> bytes:
    if tile.level == 0 and tile.width < WIDTH:
        first = tile.index * WIDTH
        rows = conn.execute(ENTRIES, [first, first + tile.width]).fetchall()
        content = b"".join(leaf_hashes(bytes(digest) for (digest,) in rows))
    else:
        row = conn.execute(TILE, {"level": tile.level, "number": tile.index}).fetchone()
        content = b"" if row is None else bytes(row[0])[: tile.width * HASH_BYTES]
    if len(content) != tile.width * HASH_BYTES:
        raise CannotExport(
            f"the transparency log lacks {tile.path}, so that nothing can be proven with it: run advice-ledger verify"
        )
    return content
