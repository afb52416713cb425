"""Makes the log grow with the chain, and signs it: never anything but an extension of what was signed before.

The tree grows from the edge in the file beside the key (ledger/tlog/sign/state_file.py) and from new events alone, so whatever the
database says about the past, what is signed next extends what was signed last. What the database says about the seam
is checked: the event at the signed position, and each link after it.

Order of writing, each step of which may be the last before a crash:

    1. tiles              follow from the events; written again, they are the same
    2. the file           from here on this checkpoint is the last one signed
    3. the checkpoint     from here on others see it; after a crash the file has it, and it is written then

Each is durable before the next begins, whatever `synchronous_commit` the server has by default: the file must not
outlive tiles that it counts on, as nobody would make them again.

One leader: an advisory lock of the database, and on one machine the lock on the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ledger.database import SIGNER_LOCK, Connection
from ledger.proof.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.proof.tlog.merkle import HASH_BYTES, leaf_hashes
from ledger.proof.tlog.note import SigningKey
from ledger.proof.tlog.tiles import WIDTH, Growth, Tile, grow
from ledger.store.head import read_head
from ledger.tlog.serve.newest_checkpoint import newest_size
from ledger.tlog.sign.errors import (
    KeyReplaced,
    OtherLedger,
    Rewritten,
    RolledBack,
    StateDamaged,
    StateMissing,
    TileDiffers,
)
from ledger.tlog.sign.recorded_rotations import STREAM, recorded_rotations
from ledger.tlog.sign.state_file import Signed, StateFile, edge_after, resigned

# So many events at most go into one checkpoint: memory and transactions stay small while a long chain is taken in.
MOST_EVENTS = 262_144

# One look at an index, which is all that each step costs: the rotations are read again where this is another number.
KEY_EVENTS = "SELECT max(version) FROM events WHERE stream = %s"
SIGNED_EVENT = "SELECT hash FROM events WHERE position = %s"
CLEAR_EDGE = "DELETE FROM partial_tiles"
ADD_CHECKPOINT = "INSERT INTO checkpoints (size, note) VALUES (%s, %s) ON CONFLICT (size) DO NOTHING"

HERE = Path(__file__).parent
DURABLE, HASHES, NOT_LINKED, ADD_TILES, OTHER_TILES, ADD_EDGE = (
    (HERE / f"{name}.sql").read_text("utf-8")
    for name in ("durable", "hashes", "not_linked", "add_tiles", "other_tiles", "add_edge")
)


class Signer:
    """Signs for one ledger. `conn` is in autocommit mode, with the role signer; `file` is held by this process."""

    def __init__(self, conn: Connection, key: SigningKey, file: StateFile) -> None:
        self._conn = conn
        self._key = key
        self._file = file
        self._signed: Signed | None = None
        self._key_events: int | None = None

    def lead(self) -> bool:
        """Whether this connection signs from now on, and no other does."""
        self._conn.execute(DURABLE)
        row = self._conn.execute(
            "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))", [SIGNER_LOCK]
        ).fetchone()
        return row == (True,)

    def step(self, most: int = MOST_EVENTS) -> Signed | None:
        """Takes in at most `most` new events and signs; None where there is nothing new. Raises SigningRefused."""
        signed, position = self._last()
        if position <= signed.size:
            return None
        hashes = self._hashes(signed, min(position, signed.size + most))
        grown = grow(signed.size, signed.edge, leaf_hashes(hashes))
        edge = edge_after(signed.edge, grown)
        self._store(grown, edge)
        note = sign_checkpoint(Checkpoint(self._key.verifier.name, grown.size, grown.root), self._key)
        self._signed = Signed(grown.size, grown.root, hashes[-1], note.encode().decode(), edge)
        self._file.write(self._signed)
        self._publish(self._signed)
        return self._signed

    def adopt(
        self,
        checkpoint: Checkpoint,
        give_up: int | None,
        on_progress: Callable[[int, int], None],
        *,
        replace_damaged: bool = False,
    ) -> Signed:
        """Takes a checkpoint of ours for the last one signed, once the events are found to have its root.

        `give_up`: the size of a signed checkpoint that is in the file, and that the database cannot go on from.
        `replace_damaged`: the file is damaged, and what it knew of is given up. Writes the file last, and missing tiles
        before. Raises SigningRefused.
        """
        origin, position = head_of(self._conn)
        if origin != self._key.verifier.name or origin != checkpoint.origin:
            raise OtherLedger(f"the checkpoint is of {checkpoint.origin}, and this ledger is {origin}")
        self._check_key()
        published = self._published()
        if not max(published, 1) <= checkpoint.size <= position:
            raise StateMissing(
                f"the checkpoint is over {checkpoint.size} events; adopt one over {published} at least, as so large a"
                f" one is published, and over {position} at most, as there are no more events"
            )
        self._check_given_up(checkpoint, give_up, replace_damaged=replace_damaged)
        found = self._grown(checkpoint.size, on_progress)
        if found.root != checkpoint.root:
            raise Rewritten(f"the events up to position {checkpoint.size} do not have the root that was signed")
        with self._conn.transaction():  # readers see the edge shrink and grow again at once, or not at all
            self._grown(checkpoint.size, on_progress, store=True)
        self._signed = resigned(found, self._key, origin)
        self._file.replace(self._signed)
        self._publish(self._signed)
        return self._signed

    def _check_given_up(self, checkpoint: Checkpoint, give_up: int | None, *, replace_damaged: bool) -> None:
        """What the file says was signed stays so, unless somebody says its size: then a second history begins."""
        try:
            found = self._file.read() or Signed()
        except StateDamaged as error:
            if not replace_damaged:
                raise StateDamaged(
                    f"{self._file.path}: {error}, and may know of a checkpoint larger than any in this database. Put a"
                    " good copy back; or, if there is none, say --replace-damaged"
                ) from error
            self._file.keep("damaged")
            return
        goes_on = found.size <= checkpoint.size and (not found.size or self._event(found.size) == found.event)
        if not goes_on and give_up != found.size:
            raise RolledBack(
                f"{self._file.path} says that a checkpoint over {found.size} events was signed, which the database does"
                " not go on from: whoever holds it will see that the history was changed. If those events are lost for"
                f" good, say so with --give-up {found.size}"
            )
        if not goes_on:
            self._file.keep(f"given-up-{found.size}")

    def _grown(self, size: int, on_progress: Callable[[int, int], None], *, store: bool = False) -> Signed:
        """The tree over the first events of the database, not signed."""
        found = Signed()
        while found.size < size:
            hashes = self._hashes(found, min(size, found.size + MOST_EVENTS))
            grown = grow(found.size, found.edge, leaf_hashes(hashes))
            found = Signed(grown.size, grown.root, hashes[-1], "", edge_after(found.edge, grown))
            if store:
                self._store(grown, found.edge)
            on_progress(found.size, size)
        return found

    def _last(self) -> tuple[Signed, int]:
        """What was signed last, once it is known that the database goes on from there; and how far it goes.

        Raises SigningRefused.
        """
        origin, position = head_of(self._conn)
        if origin != self._key.verifier.name:
            raise OtherLedger(f"the key signs for {self._key.verifier.name}, and this ledger is {origin}")
        self._check_key()
        signed = self._signed or self._first_look()
        if position < signed.size:
            raise RolledBack(
                f"the database has {position} events, and a checkpoint over {signed.size} was signed: an older copy was"
                " restored. Restore one that has them (docs/operate/tlog.md, Restoring)"
            )
        if signed.size and self._event(signed.size) != signed.event:
            raise Rewritten(
                f"the event at position {signed.size} is not the one that was signed: the chain was rewritten or"
                " another copy was restored and written on (docs/operate/tlog.md, Restoring)"
            )
        if self._signed is None and self._published() < signed.size:
            # The step before this one may have crashed after signing. Not before the looks above: a database that was
            # restored must not show a checkpoint over events that it does not have.
            self._publish(signed)
        self._signed = signed
        return signed, position

    def _check_key(self) -> None:
        """Raises KeyReplaced where another key has to sign: a checkpoint over the rotation itself is the new key's.

        After the look at the head: then no rotation up to there is missed, whoever recorded it meanwhile.
        """
        row = self._conn.execute(KEY_EVENTS, [STREAM]).fetchone()
        count = row[0] if row else None
        if count == self._key_events:
            return
        for one in recorded_rotations(self._conn, self._key.verifier.name):
            if one.rotation.old == self._key.verifier:
                raise KeyReplaced(
                    f"the key {one.rotation.old.text} gave way to {one.rotation.new.text} at position {one.position}:"
                    " sign with that one, or run advice-ledger keys rotate again if it did not end"
                )
        self._key_events = count

    def _event(self, position: int) -> bytes | None:
        """The hash of the event there; None where it has none."""
        row = self._conn.execute(SIGNED_EVENT, [position]).fetchone()
        return None if row is None or row[0] is None else bytes(row[0])

    def _first_look(self) -> Signed:
        found = self._file.read()
        published = self._published()
        if found is None and published:
            raise StateMissing(
                f"checkpoints up to size {published} were signed, and {self._file.path} is not there: put it back, or"
                " adopt a checkpoint that you trust (docs/operate/tlog.md, Restoring)"
            )
        if found is not None and published > found.size:
            raise StateMissing(
                f"a checkpoint over {published} events was signed, and {self._file.path} knows of {found.size}: put the"
                " newest one back, or adopt a checkpoint that you trust (docs/operate/tlog.md, Restoring)"
            )
        return found or Signed()

    def _hashes(self, signed: Signed, upto: int) -> list[bytes]:
        """The hashes of the new events, each linked to the one before. Raises Rewritten."""
        given = {"after": signed.size, "upto": upto}
        with self._conn.cursor(binary=True) as cursor:
            row = cursor.execute(HASHES, given).fetchone()
        count, first, found, linked = row or (0, b"", b"", False)
        if not len(found or b"") == HASH_BYTES * count == HASH_BYTES * (upto - signed.size):
            raise Rewritten(f"there are {count} events with whole hashes from position {signed.size + 1} to {upto}")
        if not linked or (signed.event and first != signed.event):
            wrong = self._conn.execute(NOT_LINKED, given).fetchone() or [signed.size + 1]
            raise Rewritten(f"the event at position {wrong[0]} does not follow the one before it")
        return [found[at : at + HASH_BYTES] for at in range(0, len(found), HASH_BYTES)]

    def _store(self, grown: Growth, edge: dict[int, bytes]) -> None:
        """Step 1. Raises TileDiffers."""
        full = [(tile, content) for tile, content in grown.tiles if tile.width == WIDTH]
        given = {
            "levels": [tile.level for tile, _ in full],
            "numbers": [tile.index for tile, _ in full],
            "hashes": [content for _, content in full],
        }
        levels = [level for level in sorted(edge) if level]
        numbers = [(grown.size >> (8 * level)) // WIDTH for level in levels]
        with self._conn.transaction():
            if self._conn.execute(ADD_TILES, given, binary=True).rowcount < len(full):
                other = self._conn.execute(OTHER_TILES, given).fetchone()
                if other is not None:
                    tile = Tile(int(other[0]), int(other[1]))
                    raise TileDiffers(f"the database holds another {tile.path} than its events make")
            self._conn.execute(CLEAR_EDGE)
            if levels:
                self._conn.execute(ADD_EDGE, [levels, numbers, [edge[level] for level in levels]])

    def _published(self) -> int:
        return newest_size(self._conn)

    def _publish(self, signed: Signed) -> None:
        """Step 3."""
        self._conn.execute(ADD_CHECKPOINT, [signed.size, signed.note])


def head_of(conn: Connection) -> tuple[str, int]:
    """Return the ledger's name and the position of its last event. Raises Rewritten if the ledger has no head."""
    head = read_head(conn)
    if head is None or None in {head.origin, head.position}:
        raise Rewritten("the ledger's head is gone: somebody deleted it (docs/operate/tlog.md, Restoring)")
    return head.origin, head.position
