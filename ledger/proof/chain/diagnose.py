"""Where the chain is broken, what was done to it: steps 1 to 3 of docs/formats/event.md, section 5.

A hash tells that something was changed, not what. The name comes from trying: does the row's own hash fit it at another
position, with the hash that the chain wants before it, or with what stands in an earlier broken row's place? Each
broken row costs a bounded number of such tries, and after `Findings.full` none, so a ruined ledger is read to its end.

After a break the chain goes on from what the next row names, so one change is one finding.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain as joined
from itertools import product

from ledger.proof.findings import Findings, Head, Kind, Row, Stored
from ledger.proof.format.hashes import event_hash, genesis_hash

# How far from its place a renumbered event is looked for, and how many missing positions are tried for a moved one.
REACH = 64


@dataclass(slots=True)
class _Suspect:
    """A row that is not what was recorded at `place`; `wanted` are hashes that the event of that place may have.

    `displaced`: the row is an event of another place, within REACH.
    """

    position: int
    place: int
    prev_hash: bytes
    version: int
    recorded_at_us: int
    wanted: set[bytes]
    displaced: bool
    key: int


@dataclass(slots=True)
class _Moved:
    """The row before this one fits `offset` positions from where it stands: alone, or with all that follow?"""

    position: int
    offset: int
    key: int


class Chain:
    """What the next row must be, and the explanation when it is another.

    The caller checks a row against `next`, `link` and `shift` itself, sets them with `last` and `before` when all is
    well, and calls `explain` when not. `link` None accepts every prev_hash: the row before is missing or suspect.
    """

    def __init__(self, head: Head | None, findings: Findings) -> None:
        self.first = 1
        self.next = 1
        self.link = None if head is None else genesis_hash(head.origin)
        # Events stand this far below the position they were recorded at, since rows were renumbered.
        self.shift = 0
        self.last: Row | None = None
        self.before: Row | None = None
        # The hash that stands at the head's position.
        self.at_head: bytes | None = None
        self._head = head
        self._findings = findings
        self._suspects: list[_Suspect] = []
        self._gaps: list[tuple[int, int, int]] = []
        self._moved: _Moved | None = None

    def move_head(self, head: Head) -> None:
        """Goes on to a later head, before the rows that came with it."""
        self._head = head
        self.at_head = self.last[7] if self.last is not None and self.last[0] == head.position else None

    def explain(self, row: Row, digest: bytes) -> bool:
        """Names what is wrong with a row that hashes to `digest`; returns whether the rest of it can be relied on."""
        event = Stored(*row)
        if self.last is None:
            self.first = event.position
        if event.position < self.next:
            self._findings.add(Kind.INSERTED, event.position, "an event too many: its position is taken, or below 1")
            if event.position == self.next - 1:
                self.link = None
                if suspect := self._suspect_at(event.position):
                    self._findings.drop(suspect.key)
            return False
        sound = digest == event.hash
        if event.position > self.next:
            if not sound and self._came_from_gap(event):
                return False
            self._skipped(event.position)
        moved, self._moved = self._moved, None
        if suspect := self._suspect_at(event.position - 1):
            suspect.wanted.add(event.prev_hash)
        if not sound:
            sound = self._unsound(event, moved)
        elif self.link is not None and event.prev_hash != self.link:
            self._unlinked(event)
        self.next = event.position + 1
        self.before, self.last = self.last, row
        self.link = event.hash if sound else None
        return sound

    def finish(self) -> None:
        """Step 8, once all rows are seen: the head is the last event."""
        head, last, add = self._head, self.next - 1, self._findings.add
        if head is None:
            add(Kind.HEAD_MISMATCH, last, "the head row is missing, or there are several")
        elif self.last is None:
            if head.position > 0:
                add(Kind.TRUNCATED, 1, f"all events are missing; the head is at {head.position}", head.position)
            elif head.hash != self.link:
                add(Kind.GENESIS_MISMATCH, 0, "the head of the empty ledger is not the genesis hash of its origin")
        else:
            if self._moved is not None and self.last[7] == head.hash:
                self._renumbered(self._moved)
            self._compare(head, Stored(*self.last))

    def _compare(self, head: Head, last: Stored) -> None:
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
            if not self._swapped(last) and not self._pair_swapped(last, head.hash):
                add(Kind.HEAD_MISMATCH, last.position, "the hash of the last event is not the head's: one was changed")
        elif not doubtful and head.recorded_at_us != last.recorded_at_us:
            add(Kind.HEAD_MISMATCH, last.position, "the head names another time than the last event has")

    def _skipped(self, position: int) -> None:
        """Positions from `next` to before `position` are missing; only those that the head covers were ever there."""
        end = position - 1 if self._head is None else min(position - 1, self._head.position)
        if self.next <= end:
            cut = self._head is not None and position > self._head.position
            what = f"event {end} is" if end == self.next else f"events {self.next} to {end} are"
            kind = Kind.TRUNCATED if cut else Kind.DELETED
            if not self._findings.full:
                self._gaps.append((self.next, end, self._findings.add(kind, self.next, f"{what} missing", end)))
            else:
                self._findings.more += 1
        self.next = position
        self.link = None

    def _came_from_gap(self, event: Stored) -> bool:
        """Whether the event was recorded at a position found missing. Then the row stands for nothing here."""
        if self._findings.full:
            return False
        for gap in self._gaps:
            first, last, key = gap
            for place in range(first, min(last, first + REACH) + 1):
                if _hash(event, place) != event.hash:
                    continue
                if first == last:
                    self._gaps.remove(gap)
                    self._findings.drop(key)
                message = f"event {place} stands at {event.position}"
                self._findings.add(Kind.REORDERED, place, message, event.position)
                return True
        return False

    def _unsound(self, event: Stored, moved: _Moved | None) -> bool:
        """The row's hash is not its own. Returns whether all but the chain's columns is as it was recorded."""
        position, place = event.position, event.position + self.shift
        if self._findings.full:
            self._findings.add(Kind.EDITED, position, "")
            return False
        if self.link is not None and _hash(event, place, prev_hash=self.link) == event.hash:
            self._findings.add(Kind.EDITED, position, "prev_hash was changed")
            return True
        if moved and self._goes_with(event, moved):
            return True
        if self._swapped(event):
            return False
        if offset := self._offset(event):
            message = f"event {place + offset} stands at {position}"
            key = self._findings.add(Kind.REORDERED, position, message)
            self._moved = _Moved(position, offset, key)
        else:
            message = "the event or its hash was changed after it was recorded"
            key = self._findings.add(Kind.EDITED, position, message)
        self._suspect(event, self.link or event.prev_hash, {event.hash}, key, displaced=offset != 0)
        return False

    def _goes_with(self, event: Stored, moved: _Moved) -> bool:
        """Whether this row is displaced like the one before it, so that all rows from there on were renumbered."""
        assert self.last is not None
        place = event.position + self.shift + moved.offset
        if event.prev_hash != self.last[7] or _hash(event, place) != event.hash:
            return False
        self._renumbered(moved)
        return True

    def _renumbered(self, moved: _Moved) -> None:
        count, at = abs(moved.offset), moved.position
        self.shift += moved.offset
        if moved.offset > 0:
            message = f"{count} missing here, and all events from here on renumbered"
            self._findings.replace(moved.key, Kind.DELETED, at, message)
            return
        for suspect in self._suspects:
            if at - count <= suspect.position < at:
                self._findings.drop(suspect.key)
        message = f"{count} put in here, and all events from {at} on renumbered"
        self._findings.replace(moved.key, Kind.INSERTED, at - count, message, at - 1)

    def _unlinked(self, event: Stored) -> None:
        """The row is sound but names another hash than that of the row before, which is sound as well."""
        add = self._findings.add
        if self.last is None:
            add(Kind.GENESIS_MISMATCH, 1, "the first event does not name the genesis hash of the head's origin")
            return
        prior = Stored(*self.last)
        if event.prev_hash == prior.prev_hash:
            add(Kind.INSERTED, prior.position, f"the event after it names {prior.position - 1} as the one before")
        elif self._findings.full:
            add(Kind.EDITED, prior.position, "")
        elif not self._swapped(prior) and not self._pair_swapped(prior, event.prev_hash):
            message = "replaced and its hash recomputed, perhaps with events before it: the next one names another hash"
            self._suspect(prior, prior.prev_hash, {event.prev_hash}, add(Kind.EDITED, prior.position, message))

    def _suspect(
        self, event: Stored, prev_hash: bytes, wanted: set[bytes], key: int, *, displaced: bool = False
    ) -> None:
        place, version, at = event.position + self.shift, event.version, event.recorded_at_us
        self._suspects.append(_Suspect(event.position, place, prev_hash, version, at, wanted, displaced, key))

    def _suspect_at(self, position: int) -> _Suspect | None:
        if self._suspects and self._suspects[-1].position == position:
            return self._suspects[-1]
        return None

    def _swapped(self, event: Stored) -> bool:
        """Whether what stands here was recorded in the place of an earlier suspect: whole rows or their contents."""
        for one in self._suspects:
            # An event that was pushed back a little by a row put in has not changed places with that row.
            far = one.displaced or event.position + self.shift - one.place > REACH
            if (far and _hash(event, one.place) == event.hash) or _contents_of(one, event):
                message = f"event {one.place} stands at {event.position}, another one in its place"
                self._findings.replace(one.key, Kind.REORDERED, one.position, message, event.position)
                self._suspects.remove(one)
                return True
        return False

    def _pair_swapped(self, second: Stored, wanted: bytes) -> bool:
        """Whether the last two events, put in the other order, lead to the hash that the next one names."""
        if self.before is None:
            return False
        first = Stored(*self.before)
        for early, late in ((first, second), (second, first)):
            link = _hash(second, first.position, prev_hash=first.prev_hash, at=early.recorded_at_us)
            if _hash(first, second.position, prev_hash=link, at=late.recorded_at_us) == wanted:
                message = f"events {first.position} and {second.position} changed places, with their hashes recomputed"
                self._findings.add(Kind.REORDERED, first.position, message, second.position)
                return True
        return False

    def _offset(self, event: Stored) -> int:
        """How far from here the row's own hash fits, the nearest within REACH; 0 if nowhere."""
        here = event.position + self.shift
        if self.last is not None and _hash(event, here - 1, prev_hash=self.last[6]) == event.hash:
            return -1  # pushed back by a row put in, and made to name that one
        for offset in joined.from_iterable((distance, -distance) for distance in range(1, REACH + 1)):
            if here + offset > 0 and _hash(event, here + offset) == event.hash:
                return offset
        return 0


def _contents_of(suspect: _Suspect, event: Stored) -> bool:
    """Whether the event's contents lead to a hash that is wanted in the suspect's place."""
    choices = product({suspect.version, event.version}, {suspect.recorded_at_us, event.recorded_at_us})
    return not suspect.wanted.isdisjoint(
        _hash(event, suspect.place, prev_hash=suspect.prev_hash, version=version, at=at) for version, at in choices
    )


def _hash(
    event: Stored, place: int, *, prev_hash: bytes | None = None, version: int | None = None, at: int | None = None
) -> bytes:
    """The event's hash, had it been recorded at `place` and with the given members; empty if it has none."""
    prev_hash = event.prev_hash if prev_hash is None else prev_hash
    version = event.version if version is None else version
    at = event.recorded_at_us if at is None else at
    try:
        return event_hash(prev_hash, place, version, at, event.body)
    except struct.error:  # A number beyond 64 bits, or below zero.
        return b""
