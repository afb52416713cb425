"""Begin a verification behind a trusted checkpoint. The events that the checkpoint covers are compared only by the
tree.

Of these events, at most the last 256 are read; the tiles that lead to the checkpoint's root are read as well. So the
next events continue the history that the checkpoint states. The content of the earlier events is not read again: it
was verified when the checkpoint was made.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql

from ledger.database import Connection
from ledger.proof.acts.checker import OF_KEYS, KeyEvent
from ledger.proof.acts.keys import SUBJECT
from ledger.proof.errors import EvidenceError
from ledger.proof.format.canonical import parse_object
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import event_hash
from ledger.proof.recording.attestation import STREAM
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.merkle import check_inclusion, inclusion_proof, leaf_hash, leaf_hashes
from ledger.proof.tlog.tiles import HEIGHT, WIDTH, Tile, reader
from ledger.store.copy import copy_rows, event
from ledger.tlog.serve.tiles import CONTENTS
from ledger.tlog.tree import RightEdge
from ledger.verify.ledger_verifier import SLICE, LedgerVerifier
from ledger.verify.roots import Roots
from ledger.verify.stored_tiles import StoredTiles
from ledger.verify.trusted_checkpoints import Judged

LINKS = "SELECT prev_hash, hash FROM events WHERE position > %s AND position <= %s ORDER BY position"
# Earlier events that later ones depend on: events about keys of signed acts, and about recording keys.
OF_KEYS_BEFORE = sql.SQL(
    "e.position <= {after} AND (e.stream LIKE {subjects} AND e.type = ANY ({types}) OR e.stream = {recording})"
)


@dataclass(frozen=True)
class Start:
    """State where to begin: behind position `after`, where the next event must name `link`.

    `edge` has the partial tiles of the tree of that size, by level; `roots` has the roots at the sizes of the
    checkpoints.
    """

    after: int
    link: bytes
    edge: Mapping[int, bytes]
    roots: Mapping[int, bytes]
    of_keys: Sequence[KeyEvent]

    def at(self, verifier: LedgerVerifier, roots: Roots, tiles: StoredTiles) -> None:
        """Let these objects begin there."""
        tiles.begin(self.after, self.edge)
        roots.begin(self.tree(), self.roots)
        verifier.begin(self.after, self.link, self.of_keys)

    def tree(self) -> RightEdge:
        """Return the right edge of the tree, to grow from here on."""
        return RightEdge.at(self.after, reader(self.after, lambda tiles: [self.edge[tile.level] for tile in tiles]))


def start(conn: Connection, judged: Sequence[Judged], head: Head | None) -> Start | None:
    """Return where to begin: behind the largest checkpoint that a trusted key signed and that was given for this
    purpose.

    Return None if no such checkpoint exists, or if it saves no work. Also return None at a fault, such as a stored
    tree that does not match the checkpoints or that lacks a tile or an event: then the whole chain has to be verified,
    which names the fault. `conn` is in a transaction with one snapshot. Raises psycopg.Error.
    """
    if head is None:
        return None
    of_ledger = [each for each in judged if each.checkpoint.origin == head.origin]
    size = max((each.checkpoint.size for each in of_ledger if each.begin and each.signed), default=0)
    checkpoints = sorted((one.checkpoint for one in of_ledger if one.checkpoint.size <= size), key=lambda one: one.size)
    return _behind(conn, checkpoints) if 0 < size <= head.position else None


def _behind(conn: Connection, checkpoints: Sequence[Checkpoint]) -> Start | None:
    """Return where to begin behind the last of these checkpoints, which is the largest."""
    size = checkpoints[-1].size
    after = (size - 1) // WIDTH * WIDTH
    if after <= 0:
        return None
    try:
        edge = _edge(conn, after)
        roots = {each.size: _root(conn, each.size) for each in checkpoints}
        links = [(bytes(link), bytes(own)) for link, own in conn.execute(LINKS, [after, size]).fetchall()]
        found = Start(after, links[0][0], edge, roots, _keys(conn, after, checkpoints[-1]))
        tree = found.tree()
        tree.extend(leaf_hashes(own for _, own in links))
    except (EvidenceError, ValueError, LookupError, struct.error):
        return None
    holds = tree.size == size and tree.root() == checkpoints[-1].root
    return found if holds and all(roots[each.size] == each.root for each in checkpoints) else None


def _edge(conn: Connection, size: int) -> dict[int, bytes]:
    """Return the content of the partial tile of each level that has one, in a tree with full tiles at level 0."""
    levels = [level for level in range(1, size.bit_length() // HEIGHT + 1) if size >> HEIGHT * level & WIDTH - 1]
    tiles = [Tile(level, size >> HEIGHT * (level + 1), size >> HEIGHT * level & WIDTH - 1) for level in levels]
    return dict(zip(levels, _fetch(conn, tiles), strict=True))


def _root(conn: Connection, size: int) -> bytes:
    return RightEdge.at(size, reader(size, lambda tiles: _fetch(conn, tiles))).root()


def _keys(conn: Connection, after: int, checkpoint: Checkpoint) -> list[KeyEvent]:
    """Return the events about keys up to a position.

    Raises ValueError or EvidenceError if the tree lacks one of them.
    """
    names = {"subjects": f"{SUBJECT}%", "types": sorted(OF_KEYS), "recording": STREAM, "after": after}
    part = OF_KEYS_BEFORE.format(**{name: sql.Literal(value) for name, value in names.items()})
    query = SLICE.format(part=part, sealed=sql.SQL("true")).as_bytes(conn)
    rows = [event(data).event for data in copy_rows(conn, query)]
    for row in rows:
        _check_included(conn, row, checkpoint)
    return [(row.position, row.recorded_at_us, parse_object(row.body)) for row in rows if row.type in OF_KEYS]


def _check_included(conn: Connection, row: EventRow, checkpoint: Checkpoint) -> None:
    digest = event_hash(row.prev_hash, row.position, row.version, row.recorded_at_us, row.body)
    index, size = row.position - 1, checkpoint.size
    proof = inclusion_proof(index, size, reader(size, lambda tiles: _fetch(conn, tiles)))
    check_inclusion(leaf_hash(digest), index, size, proof, checkpoint.root)


def _fetch(conn: Connection, tiles: Sequence[Tile]) -> list[bytes]:
    columns = [[tile.level for tile in tiles], [tile.index for tile in tiles], [tile.width for tile in tiles]]
    return [bytes(row[0]) for row in conn.execute(CONTENTS, columns, binary=True).fetchall()]
