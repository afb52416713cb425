"""One scan of the chain in chunks: hashes, commitments, tiles and signed roots.

Each chunk is read in a snapshot of its own. A scan that has reached the head goes on with new events; it does not read
old ones again. So a later scan compares its root with the root of an earlier one. Thereby it notices when events were
rewritten in between, whether or not a checkpoint covers them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from ledger.database import Connection
from ledger.proof.errors import EvidenceError
from ledger.proof.findings import CHAIN, Finding, Kind
from ledger.proof.format.events import Head
from ledger.proof.recording.attestation import Fault
from ledger.proof.tlog.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from ledger.proof.tlog.merkle import leaf_hashes
from ledger.proof.tlog.note import NoteError, NoteFlaw, VerifierKey, parse
from ledger.proof.tlog.tiles import WIDTH
from ledger.store.attested import Attested
from ledger.store.snapshot import SNAPSHOT
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.sign.state_file import edge_after
from ledger.tlog.tree import grow
from ledger.verify.database import read_head
from ledger.verify.handovers import handovers
from ledger.verify.ledger_verifier import BY_INDEX, SESSION, SLICE, LedgerVerifier, between
from ledger.verify.stored_tiles import other_edge, other_tile
from ledger.wording import counted


class ChainBroken(Exception):
    """The chain does not hold. `finding` has the reason and the first position in doubt."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True)
class Root:
    """Hold the root of the tree over `size` events, as `source` states it."""

    size: int
    root: bytes
    source: str


class Scan:
    """Scan the chain from position 1 on.

    `keys` are the verifier keys, if known; `earlier` is the root of an earlier scan.
    """

    def __init__(self, keys: Sequence[VerifierKey] = (), earlier: Root | None = None) -> None:
        self.started_s = monotonic()
        self.size = 0
        self.root = b""
        # The size of the newest checkpoint whose root matches these events.
        self.checkpoint_size = 0
        self._keys = keys
        self._earlier = earlier
        self._edge: dict[int, bytes] = {}
        self._verifier: LedgerVerifier | None = None
        self._attested: Attested | None = None

    @property
    def link(self) -> bytes | None:
        """Return the hash of the last verified event; None before the first."""
        return None if self._verifier is None or not self.size else self._verifier.link

    def take(self, conn: Connection, most: int) -> int:
        """Verify at most `most` events in one snapshot; return their number. Raises ChainBroken and psycopg.Error."""
        with conn.transaction():
            conn.execute(SNAPSHOT)
            head, verifier = self._look(conn)
            signed = self._newest(conn, head)
            before = self.size
            roots = [root for root in (signed, self._earlier) if root is not None]
            for root in roots:
                self._compare(conn, root)
            while self.size < head.position and self.size - before < most:
                upto = min(head.position, before + most)
                upto = min([upto, *(root.size for root in roots if root.size > self.size)])
                self._feed(conn, verifier, upto, 0 if signed is None else signed.size)
                for root in roots:
                    self._compare(conn, root)
            self._check_head(head, verifier)
            return self.size - before

    def end(self, conn: Connection) -> None:
        """Verify steps 6 to 9, in one snapshot together with new events. Raises ChainBroken and psycopg.Error.

        Call it once for a scan. The scan may go on afterwards.
        """
        with conn.transaction():
            conn.execute(SNAPSHOT)
            head, verifier = self._look(conn)
            if head.position > self.size:
                self._feed(conn, verifier, head.position, 0)
            self._check_head(head, verifier)
            conn.execute(SESSION, BY_INDEX)
            verifier.check_tables(conn)
            if self._attested is not None:
                _raise_fault(self._attested.finish(conn, self.size))
        _raise_first(verifier)

    def _look(self, conn: Connection) -> tuple[Head, LedgerVerifier]:
        """Return the head, which must not be before the events that were seen, and the verifier."""
        head = read_head(conn)
        if head is None:
            raise _broken(Kind.HEAD_MISMATCH, 0, "the head row is missing, or there are several")
        known = self.size if self._earlier is None else max(self.size, self._earlier.size)
        if head.position < known:
            raise _broken(Kind.ROLLED_BACK, head.position + 1, f"there were {counted(known, 'event')} before")
        if self._verifier is None:
            self._verifier = LedgerVerifier(head)
            self._attested = Attested(head.origin)
        self._verifier.move_head(head)
        return head, self._verifier

    def _check_head(self, head: Head, verifier: LedgerVerifier) -> None:
        """If the scan has reached the head, check that its last event is the head.

        If not, somebody rewrote events that it has read.
        """
        if self.size == head.position and verifier.link != head.hash:
            raise _broken(Kind.FORKED, self.size, "another event was here before")

    def _newest(self, conn: Connection, head: Head) -> Root | None:
        """Return the root in the newest checkpoint, which must be signed and not beyond the head."""
        newest = newest_checkpoint(conn)
        if newest is None:
            return None
        try:
            checkpoint = self._opened(conn, newest.note.encode(), head)
        except EvidenceError as error:
            raise _broken(Kind.BAD_SIGNATURE, 0, f"the newest checkpoint: {error}") from None
        if checkpoint.origin != head.origin:
            raise _broken(Kind.OTHER_LEDGER, 0, f"the newest checkpoint is of {checkpoint.origin!a}")
        if checkpoint.size > head.position:
            raise _broken(Kind.TRUNCATED, head.position + 1, f"a checkpoint covers {counted(checkpoint.size, 'event')}")
        return Root(checkpoint.size, checkpoint.root, "the newest checkpoint")

    def _opened(self, conn: Connection, note: bytes, head: Head) -> Checkpoint:
        """Open a checkpoint signed by a known key, or by a key that rotations connect with it. Raises EvidenceError."""
        if not self._keys:
            return parse_checkpoint(parse(note).text)
        try:
            return open_checkpoint(note, head.origin, self._keys).checkpoint
        except NoteError as error:
            if error.flaw is not NoteFlaw.UNSIGNED:
                raise
        connected = handovers(conn, head.origin, self._keys)
        opened = open_checkpoint(note, head.origin, connected.keys)
        signers = [f"{signature.name}+{signature.key_id:08x}" for signature in opened.log]
        limits = [connected.until(signer) for signer in signers]
        if all(until is not None and opened.checkpoint.size >= until for until in limits):
            raise NoteError(NoteFlaw.UNSIGNED, f"{', '.join(signers)} gave way before")
        return opened.checkpoint

    def _feed(self, conn: Connection, verifier: LedgerVerifier, upto: int, signed: int) -> None:
        """Verify the events up to a position: hashes, commitments, tiles."""
        part = SLICE.format(**between(self.size, upto))
        hashes = [row.event.hash for row in verifier.verify(conn, part.as_bytes(conn))]
        _raise_first(verifier)
        if self._attested is not None:
            _raise_fault(self._attested.check(conn, self.size, upto))
        if verifier.position != upto or len(hashes) != upto - self.size:
            raise _broken(Kind.DELETED, verifier.position + 1, f"there is no event up to position {upto}")
        grown = grow(self.size, self._edge, leaf_hashes(hashes))
        self._edge = edge_after(self._edge, grown)
        self.size, self.root = grown.size, grown.root
        full = [(tile, content) for tile, content in grown.tiles if tile.width == WIDTH]
        _raise(other_tile(conn, full, signed))

    def _compare(self, conn: Connection, expected: Root) -> None:
        if expected.size != self.size:
            return
        if expected.root != self.root:
            known = 0 if self.checkpoint_size == self.size else self.checkpoint_size
            raise _broken(
                Kind.FORKED,
                known + 1,
                f"{expected.source} has another root for the first {counted(expected.size, 'event')}",
            )
        if expected is not self._earlier:
            self.checkpoint_size = expected.size
            _raise(other_edge(conn, self.size, self._edge))


def _broken(kind: Kind, position: int, message: str) -> ChainBroken:
    return ChainBroken(CHAIN.finding(kind, position, message))


def _raise(finding: Finding | None) -> None:
    if finding is not None:
        raise ChainBroken(finding)


def _raise_fault(faults: Iterator[Fault]) -> None:
    for kind, first, last, message in faults:
        raise ChainBroken(CHAIN.finding(kind, first, message, last))


def _raise_first(verifier: LedgerVerifier) -> None:
    findings = verifier.findings.in_order()
    if findings:
        raise ChainBroken(findings[0])
