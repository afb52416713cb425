"""Grow the Merkle tree with the chain and sign it: each checkpoint extends the one signed before.

The tree grows from the edge in the state file (ledger/tlog/sign/last_signed.py) and from new events alone. So the next
checkpoint extends the last one, whatever the database holds about the past. The seam is checked: the event at the
signed position, and each link after it.

Order of writing; a crash may follow any step:

    1. tiles              are a function of the events; written again, they are the same
    2. the state file     and before it its copy: makes this checkpoint the last signed one
    3. the checkpoint     makes it public; after a crash the files have it, and the next start publishes it

Each step is on disk before the next begins, also where the server's default for `synchronous_commit` is less strict. A
state file that was newer than its tiles would leave a gap that nothing fills.

One process leads (schema/functions/take_lead.sql); on one machine also by the locks on the state file and its copy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ledger.database import Connection, replicated
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.merkle import HASH_BYTES, leaf_hashes
from ledger.proof.tlog.tiles import WIDTH, Tile
from ledger.store.recorder import Recorder
from ledger.tlog.heads.record import newest_position
from ledger.tlog.sign.adoption import Adoption
from ledger.tlog.sign.errors import (
    HistoryRefused,
    KeyReplaced,
    OtherLedger,
    Rewritten,
    RolledBack,
    StateDamaged,
    StateMissing,
    TileDiffers,
)
from ledger.tlog.sign.last_signed import LastSigned, check_continues, event_hash
from ledger.tlog.sign.look import attested_upto, head_of
from ledger.tlog.sign.recorded_rotations import STREAM, recorded_rotations
from ledger.tlog.sign.signed_checkpoints import LogKeys, newest_signed
from ledger.tlog.sign.state_file import Signed, edge_after, resigned
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from ledger.tlog.tree import Growth, grow
from ledger.wording import counted

# The most events in one checkpoint. The limit keeps memory and transactions small while a long chain is signed.
MOST_EVENTS = 262_144

# Read from the index at each step. The rotations are read again only if this number has changed.
KEY_EVENTS = "SELECT max(version) FROM events WHERE stream = %s"
# A small tree has no tile to store. The commit still has to wait for the disk and the standby, because it shows that
# the events before it are durable.
COMMIT_SOMETHING = "SELECT pg_current_xact_id()"
# The lead lasts until the connection ends.
LEAD = "SELECT lead_signing()"
CLEAR_EDGE = "DELETE FROM partial_tiles"
STOP_APPENDS = "SELECT stop_appends(%s)"
RECORD_ADOPTION = "SELECT adopt_checkpoint(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
ADD_CHECKPOINT = "INSERT INTO checkpoints (size, note) VALUES (%s, %s) ON CONFLICT (size) DO NOTHING"

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
DURABLE, HASHES, NOT_LINKED, ADD_TILES, OTHER_TILES, ADD_EDGE = (
    (HERE / f"{name}.sql").read_text("utf-8")
    for name in ("durable", "hashes", "not_linked", "add_tiles", "other_tiles", "add_edge")
)


class Signer:
    """Sign for one ledger. `conn` is in autocommit mode, with the role signer; this process holds `files`.

    With `stops_appends`, a database that is refused takes no more events: see schema/functions/stop_appends.sql.
    """

    def __init__(self, conn: Connection, key: SigningKey, files: LastSigned, *, stops_appends: bool = True) -> None:
        self._conn = conn
        self._key = key
        self._files = files
        self._stops_appends = stops_appends
        self._signed: Signed | None = None
        self._key_events: int | None = None

    def lead(self) -> bool:
        """Try to become the leader; return whether this connection is."""
        self._conn.execute(DURABLE)
        return self._conn.execute(LEAD).fetchone() == (True,)

    def step(self, most: int = MOST_EVENTS) -> Signed | None:
        """Sign at most `most` new events; return None if there are none. Raises SigningRefused."""
        try:
            return self._step(most)
        except HistoryRefused as refused:
            if self._stops_appends:
                self._conn.execute(STOP_APPENDS, [str(refused)])
            raise

    def _step(self, most: int) -> Signed | None:
        signed, position = self._last()
        if position <= signed.size:
            return None
        # A record of where streams end gets a checkpoint of its own: of that size, a bundle is complete up to the end.
        heads = newest_position(self._conn)
        upto = heads if signed.size < heads < position else position
        attested = attested_upto(self._conn, self._key.verifier.name, signed.size, min(upto, signed.size + most))
        hashes = self._hashes(signed, attested)
        grown = grow(signed.size, signed.edge, leaf_hashes(hashes))
        edge = edge_after(signed.edge, grown)
        self._store(grown, edge)
        note = sign_checkpoint(Checkpoint(self._key.verifier.name, grown.size, grown.root), self._key)
        self._signed = Signed(grown.size, grown.root, hashes[-1], note.encode().decode(), edge)
        self._files.write(self._signed)
        self._publish(self._signed)
        return self._signed

    def adopt(
        self, adoption: Adoption, on_progress: Callable[[int, int], None], recorder: Recorder | None = None
    ) -> Signed:
        """Make a checkpoint of this log the last signed one, if the events have its root. Raises SigningRefused.

        Missing tiles are written first. Then the decision is recorded, which lets append() record again. The state file
        comes last: if it cannot be written, the next signer refuses again.
        """
        checkpoint = adoption.checkpoint
        origin, position = head_of(self._conn)
        if origin != self._key.verifier.name or origin != checkpoint.origin:
            raise OtherLedger(f"the checkpoint is of {checkpoint.origin}, and this ledger is {origin}")
        self._check_key()
        published = self._published()
        if not max(published, 1) <= checkpoint.size <= position:
            raise StateMissing(
                f"the checkpoint is over {counted(checkpoint.size, 'event')}; adopt one over {published} at least, the"
                f" size that is published, and over {position} at most, the number of events"
            )
        given_up = self._given_up(adoption)
        grown = self._grown(checkpoint.size, on_progress)
        if grown.root != checkpoint.root:
            raise Rewritten(f"the events up to position {checkpoint.size} do not have the root that was signed")
        with replicated(self._conn), self._conn.transaction():  # readers see all of it or nothing
            self._grown(checkpoint.size, on_progress, store=True)
            self._conn.execute(RECORD_ADOPTION, adoption.parameters(given_up, recorder))
        self._signed = resigned(grown, self._key, origin)
        self._files.replace(self._signed)
        self._publish(self._signed)
        return self._signed

    def _given_up(self, adoption: Adoption) -> Signed | None:
        """Return the checkpoint in the state file that the database does not continue; the old file is kept.

        Raises SigningRefused unless it is given up by name: then a second history begins.
        """
        try:
            path, last = self._files.newest()
        except StateDamaged as error:
            if not adoption.replace_damaged:
                raise StateDamaged(
                    f"{error}, and may have a checkpoint larger than any in this database. Restore a good copy; if all"
                    " copies are lost, use --replace-damaged"
                ) from error
            self._files.keep("damaged")
            return None
        continues = last.size <= adoption.checkpoint.size and (
            not last.size or event_hash(self._conn, last.size) == last.event
        )
        if continues:
            return None
        if adoption.give_up != last.size:
            raise RolledBack(
                f"{path} has a signed checkpoint over {counted(last.size, 'event')}, which the database does not"
                " continue: everyone who has that checkpoint will see that the history changed. If those events are"
                f" lost for good, use --give-up {last.size}"
            )
        self._files.keep(f"given-up-{last.size}")
        return last

    def _grown(self, size: int, on_progress: Callable[[int, int], None], *, store: bool = False) -> Signed:
        """Return the tree over the first `size` events of the database, not signed."""
        tree = Signed()
        while tree.size < size:
            hashes = self._hashes(tree, min(size, tree.size + MOST_EVENTS))
            grown = grow(tree.size, tree.edge, leaf_hashes(hashes))
            tree = Signed(grown.size, grown.root, hashes[-1], "", edge_after(tree.edge, grown))
            if store:
                self._store(grown, tree.edge)
            on_progress(tree.size, size)
        return tree

    def _last(self) -> tuple[Signed, int]:
        """Return what was signed last and the position of the last event. Raises SigningRefused.

        The database must continue what was signed last.
        """
        origin, position = head_of(self._conn)
        if origin != self._key.verifier.name:
            raise OtherLedger(f"the key signs for {self._key.verifier.name}, and this ledger is {origin}")
        self._check_key()
        if self._signed is None:
            self._signed = self._first_look(position)
        else:
            check_continues(self._conn, position, [self._signed])
        return self._signed, position

    def _check_key(self) -> None:
        """Raise KeyReplaced if another key has to sign. The new key signs the checkpoint that covers the rotation.

        Call this after reading the head, so that no rotation up to the head is missed.
        """
        row = self._conn.execute(KEY_EVENTS, [STREAM]).fetchone()
        count = row[0] if row else None
        if count == self._key_events:
            return
        for recorded in recorded_rotations(self._conn, self._key.verifier.name):
            rotation = recorded.rotation
            if rotation.old == self._key.verifier:
                raise KeyReplaced(
                    f"the key {rotation.old.text} gave way to {rotation.new.text} at position {recorded.position}: sign"
                    " with that one, or run advice-ledger keys rotate again if the rotation was not finished"
                )
        self._key_events = count

    def _first_look(self, position: int) -> Signed:
        """Return what was signed last, by the files. Finish a step that crashed after writing one of them."""
        known = self._files.read()
        published = self._published()
        if not known and published:
            raise StateMissing(
                f"checkpoints up to size {published} were signed, and {self._files.path} is not there: restore it, or"
                " adopt a checkpoint that you trust (docs/operate/tlog.md, Restoring)"
            )
        last = known[0] if known else Signed()
        if known and published > last.size:
            raise StateMissing(
                f"a checkpoint over {counted(published, 'event')} was signed, and {self._files.path} has {last.size}:"
                " restore the newest copy, or adopt a checkpoint that you trust (docs/operate/tlog.md, Restoring)"
            )
        check_continues(self._conn, position, known)
        if known:
            self._files.repair(last)
        if published < last.size:
            # The checks above come first: a restored database must not publish a checkpoint over events that it does
            # not have.
            self._publish(last)
        return last

    def _hashes(self, signed: Signed, upto: int) -> list[bytes]:
        """Return the hashes of the new events, which must link to each other. Raises Rewritten."""
        part = {"after": signed.size, "upto": upto}
        with self._conn.cursor(binary=True) as cursor:
            row = cursor.execute(HASHES, part).fetchone()
        count, first, hashes, linked = row or (0, b"", b"", False)
        if not len(hashes or b"") == HASH_BYTES * count == HASH_BYTES * (upto - signed.size):
            raise Rewritten(
                f"{counted(count, 'event')} with whole hashes found from position {signed.size + 1} to {upto}"
            )
        if not linked or (signed.event and first != signed.event):
            (position,) = self._conn.execute(NOT_LINKED, part).fetchone() or (signed.size + 1,)
            raise Rewritten(f"the event at position {position} does not follow the one before it")
        return [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]

    def _store(self, grown: Growth, edge: dict[int, bytes]) -> None:
        """Do step 1. Raises TileDiffers."""
        full = [(tile, content) for tile, content in grown.tiles if tile.width == WIDTH]
        parameters = {
            "levels": [tile.level for tile, _ in full],
            "numbers": [tile.index for tile, _ in full],
            "hashes": [content for _, content in full],
        }
        levels = [level for level in sorted(edge) if level]
        numbers = [(grown.size >> (8 * level)) // WIDTH for level in levels]
        with replicated(self._conn), self._conn.transaction():
            if self._conn.execute(ADD_TILES, parameters, binary=True).rowcount < len(full):
                other = self._conn.execute(OTHER_TILES, parameters).fetchone()
                if other is not None:
                    tile = Tile(int(other[0]), int(other[1]))
                    raise TileDiffers(f"the database holds another {tile.path} than its events make")
            self._conn.execute(CLEAR_EDGE)
            if levels:
                self._conn.execute(ADD_EDGE, [levels, numbers, [edge[level] for level in levels]])
            self._conn.execute(COMMIT_SOMETHING)

    def _published(self) -> int:
        """Return the size of the newest checkpoint that this log signed. Unsigned rows do not count."""
        verifier = self._key.verifier
        return newest_signed(self._conn, LogKeys.of(verifier, recorded_rotations(self._conn, verifier.name)))

    def _publish(self, signed: Signed) -> None:
        """Do step 3."""
        with replicated(self._conn):
            added = self._conn.execute(ADD_CHECKPOINT, [signed.size, signed.note])
        if not added.rowcount and self._published() != signed.size:
            log.error(
                "a checkpoint over %s that the key did not sign is in the way of ours", counted(signed.size, "event")
            )
