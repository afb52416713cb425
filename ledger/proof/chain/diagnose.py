"""Name the fault of a broken chain: steps 1 to 3 and 8 of docs/formats/event.md, section 5.

After a break, the chain continues from the hash that the next row names, so one change is one finding.
"""

from __future__ import annotations

from ledger.proof.chain.displacement import REACH, Displacements, hash_at
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import genesis_hash


class Chain:
    """Hold the position and the link that the next row must have, and explain a row with others.

    The caller checks a row against `next`, `link` and `shift`, sets them with `last` and `before` if it fits, and
    calls `explain` if it does not. `link` None accepts every prev_hash: the row before is missing or suspect.
    """

    def __init__(self, head: Head | None, findings: Findings) -> None:
        self.first = 1
        self.next = 1
        self.link = None if head is None else genesis_hash(head.origin)
        self.last: EventRow | None = None
        self.before: EventRow | None = None
        # The hash of the row at the head's position.
        self.at_head: bytes | None = None
        self._head = head
        self._findings = findings
        self._displaced = Displacements(findings)
        # First and last position of each gap, and the key of its finding.
        self._gaps: list[tuple[int, int, int]] = []

    @property
    def shift(self) -> int:
        """Return how far events are below their recorded positions, because rows were renumbered."""
        return self._displaced.shift

    def move_head(self, head: Head) -> None:
        """Move on to a later head, before the rows that came with it."""
        self._head = head
        self.at_head = self.last.hash if self.last is not None and self.last.position == head.position else None

    def explain(self, row: EventRow, digest: bytes) -> bool:
        """Name the fault of a row that hashes to `digest`; return whether the rest of it can be relied on."""
        if self.last is None:
            self.first = row.position
        if row.position < self.next:
            self._findings.add(Kind.INSERTED, row.position, "an event too many: its position is taken, or below 1")
            if row.position == self.next - 1:
                self.link = None
                if suspect := self._displaced.suspect_at(row.position):
                    self._findings.drop(suspect.key)
            return False
        sound = digest == row.hash
        if row.position > self.next:
            if not sound and self._came_from_gap(row):
                return False
            self._skipped(row.position)
        if suspect := self._displaced.suspect_at(row.position - 1):
            suspect.wanted.add(row.prev_hash)
        if not sound:
            sound = self._unsound(row)
        else:
            self._displaced.forget_moved()
            if self.link is not None and row.prev_hash != self.link:
                self._unlinked(row)
        self.next = row.position + 1
        self.before, self.last = self.last, row
        self.link = row.hash if sound else None
        return sound

    def finish(self) -> None:
        """Step 8, after all rows: check that the head is the last event."""
        head, add = self._head, self._findings.add
        if head is None:
            add(Kind.HEAD_MISMATCH, self.next - 1, "the head row is missing, or there are several")
        elif self.last is None:
            if head.position > 0:
                add(Kind.TRUNCATED, 1, f"all events are missing; the head is at {head.position}", head.position)
            elif head.hash != self.link:
                add(Kind.GENESIS_MISMATCH, 0, "the head of the empty ledger is not the genesis hash of its origin")
        else:
            moved = self._displaced.forget_moved()
            if moved is not None and self.last.hash == head.hash:
                self._displaced.renumbered(moved)
            self._compare(head, self.last)

    def _compare(self, head: Head, last: EventRow) -> None:
        named = head.hash == last.hash
        doubtful = self.link is None
        add, end = self._findings.add, f"the last event is {last.position}, the head says {head.position}"
        if head.position > last.position and last.position + self.shift != head.position:
            if named:
                add(Kind.HEAD_MISMATCH, last.position, f"{end}, with the hash of {last.position}")
            else:
                add(Kind.TRUNCATED, last.position + 1, f"events are missing at the end: {end}", head.position)
        elif head.position < last.position and last.position + self.shift != head.position:
            if self.at_head in {head.hash, None}:
                add(Kind.INSERTED, head.position + 1, f"events follow the head: {end}", last.position)
            else:
                add(Kind.HEAD_MISMATCH, last.position, end)
        elif not doubtful and not named:
            if not self._displaced.exchanged(last) and not self._pair_exchanged(last, head.hash):
                add(Kind.HEAD_MISMATCH, last.position, "the hash of the last event is not the head's: one was changed")
        elif not doubtful and head.recorded_at_us != last.recorded_at_us:
            add(Kind.HEAD_MISMATCH, last.position, "the head names another time than the last event has")

    def _skipped(self, position: int) -> None:
        """Report that positions from `next` to before `position` are missing, as far as the head covers them."""
        end = position - 1 if self._head is None else min(position - 1, self._head.position)
        if self.next <= end:
            cut = self._head is not None and position > self._head.position
            subject = f"event {end} is" if end == self.next else f"events {self.next} to {end} are"
            kind = Kind.TRUNCATED if cut else Kind.DELETED
            full = self._findings.full
            key = self._findings.add(kind, self.next, f"{subject} missing", end)
            if not full:
                self._gaps.append((self.next, end, key))
        self.next = position
        self.link = None

    def _came_from_gap(self, row: EventRow) -> bool:
        """Return True if the event was recorded at a missing position. Then the row fills no position here."""
        if self._findings.full:
            return False
        for gap in self._gaps:
            first, last, key = gap
            for place in range(first, min(last, first + REACH) + 1):
                if hash_at(row, place) != row.hash:
                    continue
                if first == last:
                    self._gaps.remove(gap)
                    self._findings.drop(key)
                message = f"event {place} stands at {row.position}"
                self._findings.add(Kind.REORDERED, place, message, row.position)
                return True
        return False

    def _unsound(self, row: EventRow) -> bool:
        """Report a row whose hash is not its own. Return whether all but the chain's columns is as recorded."""
        place = row.position + self.shift
        if not self._findings.full and self.link is not None and hash_at(row, place, prev_hash=self.link) == row.hash:
            self._displaced.forget_moved()
            self._findings.add(Kind.EDITED, row.position, "prev_hash was changed")
            return True
        return self._displaced.explain(row, self.last, self.link)

    def _unlinked(self, row: EventRow) -> None:
        """Report a sound row that names another hash than that of the row before, which is sound as well."""
        add, prior = self._findings.add, self.last
        if prior is None:
            add(Kind.GENESIS_MISMATCH, 1, "the first event does not name the genesis hash of the head's origin")
        elif row.prev_hash == prior.prev_hash:
            add(Kind.INSERTED, prior.position, f"the event after it names {prior.position - 1} as the one before")
        elif self._findings.full:
            add(Kind.EDITED, prior.position, "")
        elif not self._displaced.exchanged(prior) and not self._pair_exchanged(prior, row.prev_hash):
            message = "replaced and its hash recomputed, perhaps with events before it: the next one names another hash"
            self._displaced.suspect(prior, {row.prev_hash}, add(Kind.EDITED, prior.position, message))

    def _pair_exchanged(self, second: EventRow, wanted: bytes) -> bool:
        """Return True if the last two events, put in the other order, lead to the hash that the next one names."""
        first = self.before
        if first is None:
            return False
        for early, late in ((first, second), (second, first)):
            link = hash_at(second, first.position, prev_hash=first.prev_hash, recorded_at_us=early.recorded_at_us)
            if hash_at(first, second.position, prev_hash=link, recorded_at_us=late.recorded_at_us) == wanted:
                message = f"events {first.position} and {second.position} changed places, with their hashes recomputed"
                self._findings.add(Kind.REORDERED, first.position, message, second.position)
                return True
        return False
