"""Signed checkpoints against the events of a database: step 10 of docs/formats/event.md, section 5.

A chain shows that it fits together. Whether it is the one that was there before, only a checkpoint can tell that
somebody kept where the database's owner has no hand on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.proof.bundle.findings import Problems, Wrong
from ledger.proof.findings import REWRITES, Covered, Findings, Kind
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.key_rotation import Handovers
from ledger.proof.tlog.merkle import EMPTY_ROOT, RightEdge, leaf_hashes
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust, judge

# So many leaves are taken into the tree at once.
BATCH = 4096


class Roots:
    """The roots that the events which go by have at the sizes asked for. Flat in memory.

    After a position that does not follow the one before there are no more roots.
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
        """The hash that stands at the next position."""
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


@dataclass(frozen=True)
class Note:
    """A checkpoint to compare with. `held`: somebody gave it; otherwise the database has it. `what` names it."""

    what: str
    data: bytes
    held: bool = True
    # Of the witnesses that the verifier trusts, so many must have cosigned.
    needed: int = 0


@dataclass(frozen=True)
class _Judged:
    """A checkpoint that may be compared: signed by a trusted key, or no key is trusted at all."""

    what: str
    checkpoint: Checkpoint
    held: bool
    trusted: bool


class Held:
    """Checkpoints, judged by the keys of whoever verifies, and by those that rotations lead to from these.

    `add` all of them, and say with `follow` which rotations there are, before asking for `roots`.
    """

    def __init__(self, trusted: Trust, notes: Sequence[Note] = ()) -> None:
        self.trusted = trusted
        self._given = trusted.log
        self._notes = list(notes)
        self._handovers = Handovers(trusted.log)
        self._problems = Problems()
        self._judged: list[_Judged] = []

    def add(self, note: Note) -> None:
        """One more, yet to be judged."""
        self._notes.append(note)

    def follow(self, handovers: Handovers) -> None:
        """The rotations of the log's key that the ledger has on record, from the keys that are trusted."""
        self._handovers = handovers
        self.trusted = replace(self.trusted, log=handovers.keys)

    @property
    def followed(self) -> list[VerifierKey]:
        """Keys that nobody gave, and that rotations connect with one that somebody did."""
        return [key for key in self.trusted.log if key not in self._given]

    def _judge(self, note: Note) -> None:
        """Its signatures, not yet its root."""
        mine = Problems()
        signed = judge(note.data, replace(self.trusted, needed=note.needed, each=()), (), mine)
        for one in mine:
            self._problems.add(one.wrong, 0, f"{note.what}: {one.message}")
        if signed is None or (self.trusted.log and signed.signer is None):
            return
        until = self._handovers.until(signed.signer)
        if until is not None and signed.checkpoint.size >= until:
            message = f"{note.what}: {signed.signer} gave way at position {until}, and this is of later events"
            self._problems.add(Wrong.UNTRUSTED_KEY, 0, message)
            return
        held = note.held or bool(signed.witnesses)
        self._judged.append(_Judged(note.what, signed.checkpoint, held, signed.signer is not None))

    def lacks_witnesses(self) -> None:
        """Notes that the database has no checkpoint with as many cosignatures as are needed."""
        message = f"no checkpoint of the database has the {self.trusted.needed} cosignatures that are needed"
        self._problems.add(Wrong.TOO_FEW_WITNESSES, 0, message)

    def roots(self) -> Roots:
        """What to feed the events to."""
        for note in self._notes:
            self._judge(note)
        self._notes.clear()
        return Roots(one.checkpoint.size for one in self._judged)

    def compare(self, roots: Roots, origin: str | None, last: int, findings: Findings) -> Covered:
        """Step 10, once all events went by; the last one is at position `last`."""
        for problem in self._problems:
            findings.add(Kind(problem.wrong.value), 0, problem.message)
        covered = Covered()
        for one in sorted(self._judged, key=lambda one: (one.checkpoint.size, not one.held)):
            if self._holds(one, roots, origin, last, findings, covered.held):
                size = one.checkpoint.size
                covered = Covered(
                    max(covered.held, size if one.held else 0), max(covered.signed, size if one.trusted else 0)
                )
        return covered

    def _holds(
        self, one: _Judged, roots: Roots, origin: str | None, last: int, findings: Findings, confirmed: int
    ) -> bool:
        """Whether a checkpoint is of these events. So many of them are `confirmed` by a smaller one that is held, too.

        One that only the database has may be of the other history. What other findings explain is not said again.
        """
        checkpoint, size = one.checkpoint, one.checkpoint.size
        if checkpoint.origin != origin:
            if origin is not None:
                message = f"{one.what} is of {checkpoint.origin!a}, and this ledger is {origin!a}"
                findings.add(Kind.OTHER_LEDGER, 0, message)
            return False
        if size > last:
            if not any(found.kind in {Kind.TRUNCATED, Kind.ROLLED_BACK} for found in findings):
                self._short(one, last, findings)
            return False
        found = roots.found.get(size)
        if found == checkpoint.root:
            return True
        if not any(
            known.kind is Kind.FORKED or (known.kind in REWRITES and known.position <= size) for known in findings
        ):
            message = f"{one.what} is of other events: from a position in this range on the chain was rewritten"
            findings.add(Kind.FORKED, confirmed + 1, message, size)
        return False

    def _short(self, one: _Judged, last: int, findings: Findings) -> None:
        """There are fewer events than were signed: lost from a database that knows of them, or from one of before."""
        size = max(each.checkpoint.size for each in self._judged)
        known = max((each.checkpoint.size for each in self._judged if not each.held), default=0)
        if known > last:
            message = f"events are missing at the end: {one.what} covers {size}, and there are {last}"
            findings.add(Kind.TRUNCATED, last + 1, message, size)
        else:
            message = f"{one.what} covers {one.checkpoint.size} events, and there are {last}: the ledger was set back"
            findings.add(Kind.ROLLED_BACK, last + 1, message, size)
