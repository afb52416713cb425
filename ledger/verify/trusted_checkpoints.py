"""Compare signed checkpoints with the events of a database: step 10 of docs/formats/event.md, section 5.

A chain shows that it fits together. Only a checkpoint that somebody keeps out of reach of the database's owner shows
that it is the chain that was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.database import Connection
from ledger.proof.errors import EvidenceError
from ledger.proof.findings import BUNDLE, CHAIN, REWRITES, Findings, Kind
from ledger.proof.format.events import Head
from ledger.proof.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.proof.tlog.note import VerifierKey, parse
from ledger.proof.tlog.trust import Signed, Trust, judge
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.verify.handovers import Handovers, handovers
from ledger.verify.report import Covered
from ledger.verify.roots import Roots
from ledger.verify.stored_tiles import StoredTiles
from ledger.wording import counted

COSIGNED = Path(__file__).with_name("cosigned.sql").read_text("utf-8")
# Findings about a checkpoint without a signature by a trusted key of its log.
UNSIGNED = (Kind.UNTRUSTED_KEY, Kind.OTHER_LEDGER)


@dataclass(frozen=True)
class NamedNote:
    """A checkpoint to compare with, and its name in findings.

    `trusted`: somebody gave it to the verifier; otherwise it comes from the database. `needed`: how many of the trusted
    witnesses must have cosigned it. `begin`: what it covers need not be read, see ledger/verify/since.py.
    """

    name: str
    data: bytes
    trusted: bool = True
    needed: int = 0
    begin: bool = False


@dataclass(frozen=True)
class Judged:
    """A checkpoint that may be compared: a trusted key signed it, or no key is trusted at all."""

    name: str
    checkpoint: Checkpoint
    trusted: bool
    signed: bool
    begin: bool


@dataclass(frozen=True)
class Verified:
    """The events after a verification: their roots, the ledger's name, the last position, and the findings so far.

    `locate` finds the first event after one position, up to another, whose leaf is not that of the stored tiles.
    """

    roots: Roots
    origin: str | None
    last: int
    findings: Findings
    locate: Callable[[int, int], int | None]


class TrustedCheckpoints:
    """Checkpoints, judged by the keys that the verifier trusts and by those that rotations connect with these.

    `read` the newest ones of the database before taking the `roots`; then `add` each stored one as its event goes by.
    """

    def __init__(
        self, trusted: Trust, notes: Sequence[NamedNote] = (), *, must_exist: bool = True, each_signed: bool = True
    ) -> None:
        """Take the trusted keys, and the checkpoints to compare with besides the stored ones.

        With trusted keys, these are findings: if `must_exist`, a ledger with events and without a checkpoint; if
        `each_signed`, any stored checkpoint without a signature by the log's key, not only the newest.
        """
        self.trusted = trusted
        self.stored = 0
        self._given = trusted.log
        self._notes = list(notes)
        self._must_exist = must_exist
        self._each_signed = each_signed and bool(trusted.log)
        self._handovers = Handovers(trusted.log)
        self._findings = Findings(CHAIN)
        # Complete once `roots` was called, but for stored checkpoints that are not of the events.
        self.judged: list[Judged] = []
        # The sizes of the database's checkpoints that were judged before the events went by.
        self._known: set[int] = set()
        # The database's checkpoints whose signatures were judged before the events went by: at most two. Whether one of
        # them has no signature by a trusted key.
        self._read: list[bytes] = []
        self._newest_unsigned = False
        # The smallest and largest size of the others that are of the events and that no trusted key signed; how many.
        self._unsigned: tuple[int, int, int] | None = None
        # The last stored checkpoint that is of the events, before the first that is not.
        self._matched: NamedNote | None = None
        self._matched_size = 0
        self._differs = False

    def read(self, conn: Connection, head: Head | None) -> None:
        """Trust the keys that recorded rotations connect with trusted ones, and add the ledger's own checkpoints.

        These are the newest with enough cosignatures, and the newest. `head` is None if the ledger has none.
        """
        if head is not None:
            self._handovers = handovers(conn, head.origin, self.trusted.log)
            self.trusted = replace(self.trusted, log=self._handovers.keys)
        needed = self.trusted.needed
        cosigned = ""
        if self.trusted.witnesses:
            (cosigned,) = conn.execute(COSIGNED, [max(1, needed)]).fetchone() or ("",)
        if cosigned:
            name = "the newest cosigned checkpoint of the database"
            self._notes.append(NamedNote(name, cosigned.encode(), trusted=False, needed=needed))
        elif needed:
            message = f"no checkpoint of the database has the {needed} cosignatures that are needed"
            self._findings.add(Kind.TOO_FEW_WITNESSES, 0, message)
        newest = newest_checkpoint(conn)
        if newest is None:
            if self._given and self._must_exist and head is not None and head.position:
                self._findings.add(
                    Kind.NO_CHECKPOINT, 0, "the database has no checkpoint that the key could have signed"
                )
        elif not cosigned.startswith(newest.note):
            self._known.add(newest.size)
            self._notes.append(NamedNote("the newest checkpoint of the database", newest.note.encode(), trusted=False))

    @property
    def followed(self) -> list[VerifierKey]:
        """The keys that were not given, but that rotations connect with a given key."""
        return [key for key in self.trusted.log if key not in self._given]

    def roots(self, tiles: StoredTiles) -> Roots:
        """Judge the notes and return what computes the roots of their sizes from the events, and for `tiles`."""
        for note in self._notes:
            self._judge(note)
            if not note.trusted:
                self._read.append(note.data)
        self._notes.clear()
        return Roots((judged.checkpoint.size for judged in self.judged), tiles)

    def add(self, size: int, note: bytes, roots: Roots) -> None:
        """Compare the stored checkpoint of `size` with the events so far, which are as many; check who signed it."""
        self.stored += 1
        root = roots.at_last()
        if root is None or self._differs or self._findings.full:
            return
        named = NamedNote(f"the checkpoint of size {size} in the database", note, trusted=False)
        if _states(note) == (size, root):
            self._matched, self._matched_size = named, size
            if self._each_signed and not any(read.startswith(note) for read in self._read):
                self._check_signer(named, size)
        elif size not in self._known and self._judge(named, size):
            roots.found[size] = root
            self._differs = True

    def _check_signer(self, note: NamedNote, size: int) -> None:
        """Check the signature on a stored checkpoint that is of the events; count it if it is not by a trusted key."""
        findings = Findings(BUNDLE)
        signed = judge(note.data, replace(self.trusted, needed=0, each=()), (), findings)
        if findings.any(*UNSIGNED):
            first, _, count = self._unsigned or (size, size, 0)
            self._unsigned = first, size, count + 1
            return
        self._add(note, findings)
        if signed is not None:
            self._in_time(note, signed)

    def _judge(self, note: NamedNote, size: int | None = None) -> bool:
        """Check the signatures and, if given, the size, not yet the root. Return False if it is not to be compared."""
        findings = Findings(BUNDLE)
        signed = judge(note.data, replace(self.trusted, needed=note.needed, each=()), (), findings)
        self._add(note, findings)
        self._newest_unsigned |= not note.trusted and findings.any(*UNSIGNED)
        if signed is None or (self.trusted.log and signed.signer is None):
            return False
        if size not in {None, signed.checkpoint.size}:
            self._findings.add(Kind.DAMAGED, 0, f"{note.name}: its text is of size {signed.checkpoint.size}")
            return False
        if not self._in_time(note, signed):
            return False
        trusted = note.trusted or bool(signed.witnesses)
        self.judged.append(Judged(note.name, signed.checkpoint, trusted, signed.signer is not None, note.begin))
        return True

    def _add(self, note: NamedNote, findings: Findings) -> None:
        for finding in findings:
            self._findings.add(finding.kind, 0, f"{note.name}: {finding.message}")

    def _in_time(self, note: NamedNote, signed: Signed) -> bool:
        """True unless the signing key had given way to another before; then add a finding."""
        until = self._handovers.until(signed.signer)
        if until is None or signed.checkpoint.size < until:
            return True
        message = f"{note.name}: {signed.signer} gave way at position {until}, and this is of later events"
        self._findings.add(Kind.UNTRUSTED_KEY, 0, message)
        return False

    def compare(self, verified: Verified) -> Covered:
        """Step 10, once all events went by."""
        # Where no trusted key signed the newest either, the keys are of another log, or the whole log was signed anew.
        if self._unsigned is not None and not self._newest_unsigned:
            first, last, count = self._unsigned
            several = f"{counted(count, 'checkpoint')} of sizes {first} to {last}"
            where = several if count > 1 else f"the checkpoint of size {first}"
            message = f"{where} in the database: not signed by a trusted key, or by one that rotations connect with it"
            self._findings.add(Kind.UNTRUSTED_KEY, 0, message)
        for finding in self._findings:
            verified.findings.add(finding.kind, 0, finding.message)
        covered = Covered()
        for judged in sorted(self.judged, key=lambda judged: (judged.checkpoint.size, not judged.trusted)):
            if self._holds(judged, verified, covered.trusted):
                size = judged.checkpoint.size
                covered = Covered(
                    max(covered.trusted, size if judged.trusted else 0),
                    max(covered.signed, size if judged.signed else 0),
                )
        return covered

    def _holds(self, judged: Judged, verified: Verified, confirmed: int) -> bool:
        """True if a checkpoint is of these events. A smaller trusted checkpoint covers the first `confirmed` of them.

        Nothing is added that other findings explain.
        """
        checkpoint, size, findings = judged.checkpoint, judged.checkpoint.size, verified.findings
        if checkpoint.origin != verified.origin:
            if verified.origin is not None:
                message = f"{judged.name} is of {checkpoint.origin!a}, and this ledger is {verified.origin!a}"
                findings.add(Kind.OTHER_LEDGER, 0, message)
            return False
        if size > verified.last:
            if not findings.any(Kind.TRUNCATED, Kind.ROLLED_BACK):
                self._short(judged, verified.last, findings)
            return False
        if verified.roots.found.get(size) == checkpoint.root:
            return True
        if not any(
            known.kind is Kind.FORKED or (known.kind in REWRITES and known.position <= size) for known in findings
        ):
            self._add_fork(judged, verified, confirmed)
        return False

    def _add_fork(self, judged: Judged, verified: Verified, confirmed: int) -> None:
        """Name the first event that is another, or else the range that has it.

        A checkpoint that only the database has may be of the other history. So only the database's own checkpoints
        tell where one of them begins to differ.
        """
        size = judged.checkpoint.size
        if not judged.trusted and self._matched_size < size and self._matched_is_signed():
            confirmed = max(confirmed, self._matched_size)
        first = verified.locate(confirmed, size)
        where = "from a position in this range on" if first is None else "as the stored tiles show, from here on"
        message = f"{judged.name} is of other events: {where} the chain was rewritten"
        verified.findings.add(Kind.FORKED, first or confirmed + 1, message, size)

    def _matched_is_signed(self) -> bool:
        """True if a trusted key signed the last stored checkpoint that is of the events, or no key is trusted."""
        if self._matched is None:
            return False
        signed = judge(self._matched.data, replace(self.trusted, needed=0, each=()), (), Findings(BUNDLE))
        return signed is not None and (not self.trusted.log or signed.signer is not None)

    def _short(self, judged: Judged, last: int, findings: Findings) -> None:
        """There are fewer events than were signed: the database lost them, or is an older copy that never had them."""
        size = max(each.checkpoint.size for each in self.judged)
        known = max((each.checkpoint.size for each in self.judged if not each.trusted), default=0)
        if known > last:
            message = f"events are missing at the end: {judged.name} covers {size}, and there are {last}"
            findings.add(Kind.TRUNCATED, last + 1, message, size)
        else:
            size = judged.checkpoint.size
            message = f"{judged.name} covers {counted(size, 'event')}, and there are {last}: the ledger was set back"
            findings.add(Kind.ROLLED_BACK, last + 1, message, size)


def _states(note: bytes) -> tuple[int, bytes] | None:
    """The size and root that a note states; None if it is malformed."""
    try:
        checkpoint = parse_checkpoint(parse(note).text)
    except EvidenceError:
        return None
    return checkpoint.size, checkpoint.root
