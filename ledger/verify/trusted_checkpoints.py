"""Compare signed checkpoints with the events of a database: step 10 of docs/formats/event.md, section 5.

A chain can show only that it fits together. A checkpoint that the database's owner cannot reach shows that it is the
chain that existed before.
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
# Findings about a checkpoint that no trusted key of its log signed.
UNSIGNED = (Kind.UNTRUSTED_KEY, Kind.OTHER_LEDGER)


@dataclass(frozen=True)
class NamedNote:
    """Hold a checkpoint to compare with, and its name in findings.

    `trusted`: it was given to the verifier; otherwise it comes from the database. `needed`: the number of trusted
    witnesses that must have cosigned it. `begin`: the events that it covers need not be read (ledger/verify/since.py).
    """

    name: str
    data: bytes
    trusted: bool = True
    needed: int = 0
    begin: bool = False


@dataclass(frozen=True)
class Judged:
    """Hold a checkpoint that may be compared: a trusted key signed it, or no key is trusted at all."""

    name: str
    checkpoint: Checkpoint
    trusted: bool
    signed: bool
    begin: bool


@dataclass(frozen=True)
class Verified:
    """Describe the verified events: their roots, the ledger's name, the last position, and the findings so far.

    `locate` returns the first position in a range whose leaf differs from the stored tiles.
    """

    roots: Roots
    origin: str | None
    last: int
    findings: Findings
    locate: Callable[[int, int], int | None]


class TrustedCheckpoints:
    """Judge checkpoints by the keys that the verifier trusts, and by the keys that rotations connect with these.

    Call `read` for the newest checkpoints of the database before `roots`; then call `add` for each stored checkpoint
    when its event has been read.
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
        # Complete after `roots`, except for stored checkpoints that do not match the events.
        self.judged: list[Judged] = []
        # The sizes of the database's checkpoints that were judged before the events were read.
        self._known: set[int] = set()
        # The database's checkpoints whose signatures were judged before the events were read, at most two; and True if
        # no trusted key signed one of them.
        self._read: list[bytes] = []
        self._newest_unsigned = False
        # Other checkpoints that match the events and that no trusted key signed: smallest and largest size, number.
        self._unsigned: tuple[int, int, int] | None = None
        # The last stored checkpoint that matches the events, before the first that does not.
        self._matched: NamedNote | None = None
        self._matched_size = 0
        self._differs = False

    def read(self, conn: Connection, head: Head | None) -> None:
        """Trust the keys that recorded rotations connect with trusted keys, and add the ledger's own checkpoints.

        These are the newest with enough cosignatures, and the newest of all. `head` is None if the ledger has none.
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
        """Return the keys that were not given, but that rotations connect with a given key."""
        return [key for key in self.trusted.log if key not in self._given]

    def roots(self, tiles: StoredTiles) -> Roots:
        """Judge the notes; return the object that computes the roots of their sizes and feeds `tiles`."""
        for note in self._notes:
            self._judge(note)
            if not note.trusted:
                self._read.append(note.data)
        self._notes.clear()
        return Roots((judged.checkpoint.size for judged in self.judged), tiles)

    def add(self, size: int, note: bytes, roots: Roots) -> None:
        """Compare the stored checkpoint of `size` with the events so far, which are `size` in number; check its
        signer."""
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
        """Check the signature on a stored checkpoint that matches the events; count it if no trusted key signed it."""
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
        """Check the signatures and, if given, the size, but not the root. Return False if it must not be compared."""
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
        """Return True unless another key had already replaced the signing key; then add a finding."""
        until = self._handovers.until(signed.signer)
        if until is None or signed.checkpoint.size < until:
            return True
        message = f"{note.name}: {signed.signer} gave way at position {until}, and this is of later events"
        self._findings.add(Kind.UNTRUSTED_KEY, 0, message)
        return False

    def compare(self, verified: Verified) -> Covered:
        """Step 10, after all events: compare every judged checkpoint with the roots."""
        # If no trusted key signed the newest one either, the keys are of another log, or the whole log was signed
        # anew.
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
        """Return True if a checkpoint matches these events. A smaller trusted one covers the first `confirmed` of
        them.

        Adds no finding that other findings explain.
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
        """Name the first event that differs, or else the range that contains it.

        A checkpoint that only the database has may belong to the other history. So only the database's own checkpoints
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
        """Return True if a trusted key signed the last stored checkpoint that matches the events, or if no key is
        trusted."""
        if self._matched is None:
            return False
        signed = judge(self._matched.data, replace(self.trusted, needed=0, each=()), (), Findings(BUNDLE))
        return signed is not None and (not self.trusted.log or signed.signer is not None)

    def _short(self, judged: Judged, last: int, findings: Findings) -> None:
        """Report lost events: fewer exist than were signed. Or the database is an older copy that never had them."""
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
    """Return the size and root that a note states; None if the note is malformed."""
    try:
        checkpoint = parse_checkpoint(parse(note).text)
    except EvidenceError:
        return None
    return checkpoint.size, checkpoint.root
