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
from ledger.proof.tlog.key_rotation import Rotation, followed, key_name
from ledger.proof.tlog.note import VerifierKey, parse
from ledger.proof.tlog.trust import Trust, judge
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.sign.recorded_rotations import recorded_rotations
from ledger.verify.report import Covered
from ledger.verify.roots import Roots

COSIGNED = Path(__file__).with_name("cosigned.sql").read_text("utf-8")


class Handovers:
    """The keys that recorded rotations connect with given keys: those after a key, and those before it.

    A key speaks without limit for the key that it handed over to. For the key before it, it speaks only for what that
    one signed until then: trees of fewer events than the position of the rotation. A replaced key, which others may
    have got hold of, signs nothing new.
    """

    def __init__(self, given: Sequence[VerifierKey], recorded: Sequence[tuple[int, Rotation]] = ()) -> None:
        rotations = [one for _, one in recorded]
        after = [*given, *(one.new for one in followed(given, rotations))]
        self._until: dict[str, int] = {}
        known = set(after)
        while earlier := [(at, one) for at, one in recorded if one.new in known and one.old not in known]:
            at, one = earlier[0]
            known.add(one.old)
            after.append(one.old)
            self._until[key_name(one.old)] = min(at, self._until.get(key_name(one.new), at))
        self.keys = tuple(dict.fromkeys(after))

    def until(self, signer: str | None) -> int | None:
        """The size from which on checkpoints of this signer (name and id) do not count; None if all count."""
        return None if signer is None else self._until.get(signer)


def handovers(conn: Connection, origin: str, given: Sequence[VerifierKey]) -> Handovers:
    """The keys that recorded rotations connect with the given ones. Raises psycopg.Error."""
    rotations = recorded_rotations(conn, origin) if given else []
    return Handovers(given, [(recorded.position, recorded.rotation) for recorded in rotations])


@dataclass(frozen=True)
class NamedNote:
    """A checkpoint to compare with, and its name in findings.

    `trusted`: somebody gave it to the verifier; otherwise it comes from the database. `needed`: how many of the trusted
    witnesses must have cosigned it.
    """

    name: str
    data: bytes
    trusted: bool = True
    needed: int = 0


@dataclass(frozen=True)
class _Judged:
    """A checkpoint that may be compared: a trusted key signed it, or no key is trusted at all."""

    name: str
    checkpoint: Checkpoint
    trusted: bool
    signed: bool


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

    def __init__(self, trusted: Trust, notes: Sequence[NamedNote] = (), *, must_exist: bool = True) -> None:
        """`must_exist`: with trusted keys, a ledger with events and without a checkpoint is a finding."""
        self.trusted = trusted
        self.stored = 0
        self._given = trusted.log
        self._notes = list(notes)
        self._must_exist = must_exist
        self._handovers = Handovers(trusted.log)
        self._findings = Findings(CHAIN)
        self._judged: list[_Judged] = []
        # The sizes of the database's checkpoints that were judged before the events went by.
        self._known: set[int] = set()
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

    def roots(self) -> Roots:
        """Judge the notes and return what computes the roots of their sizes from the events."""
        for note in self._notes:
            self._judge(note)
        self._notes.clear()
        return Roots(judged.checkpoint.size for judged in self._judged)

    def add(self, size: int, note: bytes, roots: Roots) -> None:
        """Compare the stored checkpoint of `size` with the events so far, which are as many.

        The signature of one that matches is not checked here: the newest one covers the events of all before it.
        """
        self.stored += 1
        root = roots.at_last()
        if root is None or self._differs or self._findings.full:
            return
        named = NamedNote(f"the checkpoint of size {size} in the database", note, trusted=False)
        if _states(note) == (size, root):
            self._matched, self._matched_size = named, size
        elif size not in self._known and self._judge(named, size):
            roots.found[size] = root
            self._differs = True

    def _judge(self, note: NamedNote, size: int | None = None) -> bool:
        """Check the signatures and, if given, the size, not yet the root. Return False if it is not to be compared."""
        findings = Findings(BUNDLE)
        signed = judge(note.data, replace(self.trusted, needed=note.needed, each=()), (), findings)
        for finding in findings:
            self._findings.add(finding.kind, 0, f"{note.name}: {finding.message}")
        if signed is None or (self.trusted.log and signed.signer is None):
            return False
        if size not in {None, signed.checkpoint.size}:
            self._findings.add(Kind.DAMAGED, 0, f"{note.name}: its text is of size {signed.checkpoint.size}")
            return False
        until = self._handovers.until(signed.signer)
        if until is not None and signed.checkpoint.size >= until:
            message = f"{note.name}: {signed.signer} gave way at position {until}, and this is of later events"
            self._findings.add(Kind.UNTRUSTED_KEY, 0, message)
            return False
        trusted = note.trusted or bool(signed.witnesses)
        self._judged.append(_Judged(note.name, signed.checkpoint, trusted, signed.signer is not None))
        return True

    def compare(self, verified: Verified) -> Covered:
        """Step 10, once all events went by."""
        for finding in self._findings:
            verified.findings.add(finding.kind, 0, finding.message)
        covered = Covered()
        for judged in sorted(self._judged, key=lambda judged: (judged.checkpoint.size, not judged.trusted)):
            if self._holds(judged, verified, covered.trusted):
                size = judged.checkpoint.size
                covered = Covered(
                    max(covered.trusted, size if judged.trusted else 0),
                    max(covered.signed, size if judged.signed else 0),
                )
        return covered

    def _holds(self, judged: _Judged, verified: Verified, confirmed: int) -> bool:
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

    def _add_fork(self, judged: _Judged, verified: Verified, confirmed: int) -> None:
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

    def _short(self, judged: _Judged, last: int, findings: Findings) -> None:
        """There are fewer events than were signed: the database lost them, or is an older copy that never had them."""
        size = max(each.checkpoint.size for each in self._judged)
        known = max((each.checkpoint.size for each in self._judged if not each.trusted), default=0)
        if known > last:
            message = f"events are missing at the end: {judged.name} covers {size}, and there are {last}"
            findings.add(Kind.TRUNCATED, last + 1, message, size)
        else:
            size = judged.checkpoint.size
            message = f"{judged.name} covers {size} events, and there are {last}: the ledger was set back"
            findings.add(Kind.ROLLED_BACK, last + 1, message, size)


def _states(note: bytes) -> tuple[int, bytes] | None:
    """The size and root that a note states; None if it is malformed."""
    try:
        checkpoint = parse_checkpoint(parse(note).text)
    except EvidenceError:
        return None
    return checkpoint.size, checkpoint.root
