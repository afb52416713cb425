"""Tell the checkpoints that the log's key signed from other rows, and find the newest of them.

The database checks the form of a checkpoint but not its signature: somebody with the signer's login can add one that
nobody signed. A process that has the key ignores such a row, and reports it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ledger.database import AsyncConnection, Connection
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.note import MAX_SIGNATURES, VerifierKey, parse_signatures
from ledger.tlog.serve import tiles
from ledger.tlog.serve.newest_checkpoint import NO_LIMIT, NewestCheckpoint, newest_checkpoint_async
from ledger.tlog.serve.tiles import NO_EVENT, NO_TILE, PublishedCheckpoint
from ledger.tlog.sign.recorded_rotations import ROTATIONS, STREAM, RecordedRotation, rotations_in
from ledger.wording import counted

log = logging.getLogger(__name__)

OLDER = "SELECT size, note FROM checkpoints WHERE size < %s AND size > %s ORDER BY size DESC LIMIT %s"
# The number of rows that are read at once.
PAGE = 100
# The number of check results that a process keeps, and of sizes that it reports.
MAX_KNOWN, MAX_REPORTED = 1000, 20


@dataclass(frozen=True)
class LogKeys:
    """The keys of a log: the one that this process has, and those that recorded rotations connect with it.

    `ends` has the position of the rotation by which a key gave way, by the key's text.
    """

    keys: tuple[VerifierKey, ...]
    ends: dict[str, int]

    @classmethod
    def of(cls, key: VerifierKey, rotations: Sequence[RecordedRotation]) -> LogKeys:
        """Follow the rotations from the key, in both directions: both keys of a rotation signed it."""
        known = {key.text: key}
        ends: dict[str, int] = {}
        for _ in rotations:
            for recorded in rotations:
                old, new = recorded.rotation.old, recorded.rotation.new
                if old.text in known or new.text in known:
                    known |= {old.text: old, new.text: new}
                    ends[old.text] = recorded.position
        return cls(tuple(known.values()), ends)

    def signed(self, size: int, note: str) -> bool:
        """Return whether one of the keys signed this note as a checkpoint over `size` events, before it was replaced.

        Cosignatures do not count: their table is one to which somebody else may add rows, too.
        """
        own, _ = split(note)
        try:
            opened = open_checkpoint(own.encode(), self.keys[0].name, self.keys)
        except EvidenceError:
            return False
        by = {(signature.name, signature.key_id) for signature in opened.log}
        in_time = (size < self.ends.get(key.text, NO_LIMIT) for key in self.keys if (key.name, key.key_id) in by)
        return opened.checkpoint.size == size and any(in_time)


def split(note: str) -> tuple[str, list[str]]:
    """Return the note with its first signature, which is the log's, and the lines of the cosignatures."""
    text, _, lines = note.partition("\n\n")
    first, *others = lines.removesuffix("\n").split("\n")
    return f"{text}\n\n{first}\n", [f"{line}\n" for line in others]


def newest_signed(conn: Connection, keys: LogKeys, *, above: int = 0) -> int:
    """Return the size of the newest checkpoint that one of the keys signed, if larger than `above`; otherwise 0."""
    before = NO_LIMIT
    while page := conn.execute(OLDER, [before, above, PAGE]).fetchall():
        for size, note in page:
            if keys.signed(size, note):
                return int(size)
        before = int(page[-1][0])
    return 0


class SignedCheckpoints:
    """Serve the signed checkpoints of one ledger. Without a key, a process cannot check them and accepts all."""

    def __init__(self, key: VerifierKey | None, witnesses: Sequence[VerifierKey] = ()) -> None:
        self._key = key
        self._witnesses = {(witness.name, witness.key_id): witness for witness in witnesses}
        self._keys: LogKeys | None = None
        self._known: dict[tuple[int, str], bool] = {}
        # The sizes of the last rows that turned out to be unsigned.
        self.unsigned: list[int] = []

    async def is_signed(self, conn: AsyncConnection, size: int, note: str) -> bool:
        """Return whether the log signed the note; cosignatures may follow. Most calls need no query."""
        if self._key is None:
            return True
        known = self._known.get((size, note))
        if known is None:
            known = self._keys is not None and self._keys.signed(size, note)
            if not known:  # another key may have taken over
                self._keys = await _read_keys(conn, self._key)
                known = self._keys.signed(size, note)
            self._remember(size, note, known)
        return known

    async def newest(self, conn: AsyncConnection) -> NewestCheckpoint | None:
        """Return the newest checkpoint that the log signed."""
        newest = await newest_checkpoint_async(conn)
        while newest is not None and not await self.is_signed(conn, newest.size, newest.note):
            newest = await newest_checkpoint_async(conn, before=newest.size)
        return newest

    async def is_newest_signed(self, conn: AsyncConnection) -> bool:
        """Return whether the log signed the newest checkpoint of the database."""
        newest = await newest_checkpoint_async(conn)
        return newest is None or await self.is_signed(conn, newest.size, newest.note)

    async def covered(self, conn: AsyncConnection) -> int:
        """Return the size of the newest checkpoint; 0 before the first."""
        newest = await self.newest(conn)
        return 0 if newest is None else newest.size

    async def published(
        self, conn: AsyncConnection, size: int | None = None, *, position: int = NO_EVENT, tile: int = NO_TILE
    ) -> PublishedCheckpoint | None:
        """Return the result of tiles.published(); instead of an unsigned checkpoint, the newest signed one."""
        published = await tiles.published(conn, size, position=position, tile=tile)
        if published is not None and not await self.is_signed(conn, published.size, published.note):
            newest = await self.newest(conn)
            published = newest and await tiles.published(conn, newest.size, position=position, tile=tile)
        return published and self.readable(published)

    def readable(self, published: PublishedCheckpoint) -> PublishedCheckpoint:
        """Leave out malformed cosignatures: readers would refuse the whole note because of one."""
        own, lines = split(published.note)
        text = own.partition("\n\n")[0] + "\n"
        kept = [line for line in lines if self._is_cosignature(text, line)][: MAX_SIGNATURES - 1]
        return published if len(kept) == len(lines) else replace(published, note=own + "".join(kept))

    @lru_cache(maxsize=MAX_KNOWN)  # noqa: B019 - one object for each process
    def _is_cosignature(self, text: str, line: str) -> bool:
        """Return True if the line is a signature that holds, as far as its witness is configured."""
        try:
            (signature,) = parse_signatures(line)
            witness = self._witnesses.get((signature.name, signature.key_id))
            if witness is not None:
                witness.check(text.encode(), signature.blob)
        except EvidenceError:
            return False
        return True

    def _remember(self, size: int, note: str, signed: bool) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[size, note] = signed
        if not signed and size not in self.unsigned:
            log.error(
                "the checkpoint over %s is not signed with the log's key, and is not served", counted(size, "event")
            )
            self.unsigned = [*self.unsigned[1 - MAX_REPORTED :], size]


async def _read_keys(conn: AsyncConnection, key: VerifierKey) -> LogKeys:
    rows: list[Any] = await (await conn.execute(ROTATIONS, [STREAM], prepare=True)).fetchall()
    return LogKeys.of(key, rotations_in(rows, key.name))
