"""Compare signed checkpoints with the events of a database: step 10 of docs/formats/event.md, section 5.

A chain shows that it fits together. Only a checkpoint that somebody keeps out of reach of the database's owner shows
that it is the chain that was there before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.database import Connection
from ledger.proof.findings import BUNDLE, CHAIN, REWRITES, Findings, Kind
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.key_rotation import Rotation, followed, key_name
from ledger.proof.tlog.merkle import EMPTY_ROOT, leaf_hashes
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust, judge
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.sign.recorded_rotations import recorded_rotations
from ledger.tlog.tree import RightEdge
from ledger.verify.report import Covered

COSIGNED = Path(__file__).with_name("cosigned.sql").read_text("utf-8")
# Leaves that are taken into the tree at once.
BATCH = 4096


class Roots:
    """Compute the Merkle root at the requested sizes while events stream past, in flat memory.

    After a gap in the positions there are no more roots.
    """

    def __init__(self, sizes: Iterable[int]) -> None:
        self._sizes = sorted(set(sizes), reverse=True)
        self._edge = RightEdge()
        self._waiting: list[bytes] = []
        self._last = 0
        self.found: dict[int, bytes] = {}
        if self._sizes[-1:] == [0]:
            self.found[self._sizes.pop()] = EMPTY_ROOT

    def add(self, position: int, recorded: bytes) -> None:
        """Add the hash of the event at the next position."""
        if not self._sizes:
            return
        if position != self._last + 1:
            self._sizes.clear()
            return
        self._last = position
        self._waiting.append(recorded)
        if position == self._sizes[-1]:
            self._take()
            self.found[self._sizes.pop()] = self._edge.root()
        elif len(self._waiting) == BATCH:
            self._take()

    def _take(self) -> None:
        self._edge.extend(leaf_hashes(self._waiting))
        self._waiting.clear()


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


class TrustedCheckpoints:
    """Checkpoints, judged by the keys that the verifier trusts and by those that rotations connect with these.

    `read` from the database before taking the `roots`.
    """

    def __init__(self, trusted: Trust, notes: Sequence[NamedNote] = ()) -> None:
        self.trusted = trusted
        self._given = trusted.log
        self._notes = list(notes)
        self._handovers = Handovers(trusted.log)
        self._findings = Findings(CHAIN)
        self._judged: list[_Judged] = []

    def read(self, conn: Connection, origin: str | None) -> None:
        """Trust the keys that recorded rotations connect with trusted ones, and add the ledger's own checkpoints.

        These are the newest with enough cosignatures, and the newest. `origin` is None if the ledger has no head.
        """
        if origin is not None:
            self._handovers = handovers(conn, origin, self.trusted.log)
            self.trusted = replace(self.trusted, log=self._handovers.keys)
        needed = self.trusted.needed
        (cosigned,) = conn.execute(COSIGNED, [max(1, needed)]).fetchone() or ("",)
        if cosigned:
            name = "the newest cosigned checkpoint of the database"
            self._notes.append(NamedNote(name, cosigned.encode(), trusted=False, needed=needed))
        elif needed:
            message = f"no checkpoint of the database has the {needed} cosignatures that are needed"
            self._findings.add(Kind.TOO_FEW_WITNESSES, 0, message)
        newest = newest_checkpoint(conn)
        if newest is not None and not cosigned.startswith(newest.note):
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

    def _judge(self, note: NamedNote) -> None:
        """Check the signatures, not yet the root."""
        findings = Findings(BUNDLE)
        signed = judge(note.data, replace(self.trusted, needed=note.needed, each=()), (), findings)
        for finding in findings:
            self._findings.add(finding.kind, 0, f"{note.name}: {finding.message}")
        if signed is None or (self.trusted.log and signed.signer is None):
            return
        until = self._handovers.until(signed.signer)
        if until is not None and signed.checkpoint.size >= until:
            message = f"{note.name}: {signed.signer} gave way at position {until}, and this is of later events"
            self._findings.add(Kind.UNTRUSTED_KEY, 0, message)
            return
        trusted = note.trusted or bool(signed.witnesses)
        self._judged.append(_Judged(note.name, signed.checkpoint, trusted, signed.signer is not None))

    def compare(self, roots: Roots, origin: str | None, last: int, findings: Findings) -> Covered:
        """Step 10, once all events went by. `last` is the position of the last one."""
        for finding in self._findings:
            findings.add(finding.kind, 0, finding.message)
        covered = Covered()
        for judged in sorted(self._judged, key=lambda judged: (judged.checkpoint.size, not judged.trusted)):
            if self._holds(judged, roots, origin, last, findings, covered.trusted):
                size = judged.checkpoint.size
                covered = Covered(
                    max(covered.trusted, size if judged.trusted else 0),
                    max(covered.signed, size if judged.signed else 0),
                )
        return covered

    def _holds(
        self, judged: _Judged, roots: Roots, origin: str | None, last: int, findings: Findings, confirmed: int
    ) -> bool:
        """True if a checkpoint is of these events. A smaller trusted checkpoint covers the first `confirmed` of them.

        A checkpoint that only the database has may be of the other history. Nothing is added that other findings
        explain.
        """
        checkpoint, size = judged.checkpoint, judged.checkpoint.size
        if checkpoint.origin != origin:
            if origin is not None:
                message = f"{judged.name} is of {checkpoint.origin!a}, and this ledger is {origin!a}"
                findings.add(Kind.OTHER_LEDGER, 0, message)
            return False
        if size > last:
            if not findings.any(Kind.TRUNCATED, Kind.ROLLED_BACK):
                self._short(judged, last, findings)
            return False
        if roots.found.get(size) == checkpoint.root:
            return True
        if not any(
            known.kind is Kind.FORKED or (known.kind in REWRITES and known.position <= size) for known in findings
        ):
            message = f"{judged.name} is of other events: from a position in this range on the chain was rewritten"
            findings.add(Kind.FORKED, confirmed + 1, message, size)
        return False

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
