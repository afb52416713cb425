"""Explain an event whose hash does not fit its position: edited, moved, exchanged, or renumbered.

A hash tells that something was changed, not what. The kind comes from trying: does the event's hash fit it at another
position near by, or in the place of an earlier event that did not fit? Each event costs a bounded number of such tries,
and none once the findings are full, so that a ruined ledger is read to its end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import product

from ledger.proof.findings import Findings, Kind
from ledger.proof.format.events import EventLine, EventRow
from ledger.proof.format.hashes import event_hash

HashedEvent = EventRow | EventLine

# The search for a displaced event ends this many positions away.
REACH = 64


@dataclass(slots=True)
class Suspect:
    """An event that differs from the one recorded at `place`; `wanted` are hashes that the recorded one may have.

    `displaced`: it is an event of another place, within REACH.
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
class Moved:
    """An event that fits `offset` positions from its own: either alone, or with all that follow."""

    position: int
    offset: int
    key: int


class Displacements:
    """Hold the events so far that do not fit their position. After a renumbering, events fit `shift` positions away."""

    def __init__(self, findings: Findings) -> None:
        self.shift = 0
        self._findings = findings
        self._suspects: list[Suspect] = []
        # The event before, if it was displaced.
        self._moved: Moved | None = None

    def in_place(self) -> None:
        """Note that the next event fits its position, so that nothing was renumbered up to here."""
        self._moved, self.shift = None, 0

    def forget_moved(self) -> Moved | None:
        """Return the event before if it was displaced: the next one was not displaced with it."""
        moved, self._moved = self._moved, None
        return moved

    def explain(self, event: HashedEvent, prior: HashedEvent | None = None, link: bytes | None = None) -> bool:
        """Add a finding for an event whose hash does not fit it; return whether it is only renumbered.

        `prior` is the event at the position before, where that is known; `link` the hash that this event had to name.
        """
        moved = self.forget_moved()
        if self._findings.full:
            self._findings.add(Kind.EDITED, event.position, "")
            return False
        if moved is not None and self._moved_along(event, prior, moved):
            self.renumbered(moved)
            return True
        if self.exchanged(event):
            return False
        if offset := self._offset(event, prior):
            message = f"event {event.position + self.shift + offset} stands at {event.position}"
            key = self._findings.add(Kind.REORDERED, event.position, message)
            self._moved = Moved(event.position, offset, key)
        else:
            message = "the event or its hash was changed after it was recorded"
            key = self._findings.add(Kind.EDITED, event.position, message)
        self.suspect(event, {event.hash}, key, prev_hash=link, displaced=offset != 0)
        return False

    def fits_renumbered(self, event: HashedEvent) -> bool:
        """Return True if the event follows a known renumbering and is otherwise as it was recorded."""
        return self.shift != 0 and hash_at(event, event.position + self.shift) == event.hash

    def renumbered(self, moved: Moved) -> None:
        """Report that events from `moved` on were renumbered: one finding instead of those of the first ones."""
        count, position = abs(moved.offset), moved.position
        self.shift += moved.offset
        if moved.offset > 0:
            message = f"{count} missing here, and all events from here on renumbered"
            self._findings.replace(moved.key, Kind.DELETED, position, message)
            return
        for suspect in self._suspects:
            if position - count <= suspect.position < position:
                self._findings.drop(suspect.key)
        message = f"{count} put in here, and all events from {position} on renumbered"
        self._findings.replace(moved.key, Kind.INSERTED, position - count, message, position - 1)

    def exchanged(self, event: HashedEvent) -> bool:
        """Find the earlier suspect in whose place this event, or its contents, was recorded, and report it."""
        for suspect in self._suspects:
            # An event that an inserted one pushed back a little has not changed places with that one.
            far = suspect.displaced or event.position + self.shift - suspect.place > REACH
            if (far and hash_at(event, suspect.place) == event.hash) or _contents_fit(suspect, event):
                message = f"event {suspect.place} stands at {event.position}, another one in its place"
                self._findings.replace(suspect.key, Kind.REORDERED, suspect.position, message, event.position)
                self._suspects.remove(suspect)
                return True
        return False

    def suspect(
        self,
        event: HashedEvent,
        wanted: set[bytes],
        key: int,
        *,
        prev_hash: bytes | None = None,
        displaced: bool = False,
    ) -> None:
        """Remember an event that differs from the one recorded in its place. `key` is that of its finding."""
        if self._findings.full:
            return
        place, link = event.position + self.shift, event.prev_hash if prev_hash is None else prev_hash
        self._suspects.append(
            Suspect(event.position, place, link, event.version, event.recorded_at_us, wanted, displaced, key)
        )

    def suspect_at(self, position: int) -> Suspect | None:
        """Return the last suspect if it is at this position."""
        if self._suspects and self._suspects[-1].position == position:
            return self._suspects[-1]
        return None

    def _moved_along(self, event: HashedEvent, prior: HashedEvent | None, moved: Moved) -> bool:
        """Return True if this event is displaced like the one before it, so that all from there on were renumbered."""
        if prior is not None and event.prev_hash != prior.hash:
            return False
        return hash_at(event, event.position + self.shift + moved.offset) == event.hash

    def _offset(self, event: HashedEvent, prior: HashedEvent | None) -> int:
        """Return the smallest offset, within REACH, at which the event's hash fits; 0 if none does."""
        place = event.position + self.shift
        if prior is not None and hash_at(event, place - 1, prev_hash=prior.prev_hash) == event.hash:
            return -1  # pushed back by an inserted event, and made to name that one
        for distance in range(1, REACH + 1):
            for offset in (distance, -distance):
                if place + offset > 0 and hash_at(event, place + offset) == event.hash:
                    return offset
        return 0


def _contents_fit(suspect: Suspect, event: HashedEvent) -> bool:
    """Return True if the event's contents lead to a hash that is wanted in the suspect's place."""
    choices = product({suspect.version, event.version}, {suspect.recorded_at_us, event.recorded_at_us})
    return not suspect.wanted.isdisjoint(
        hash_at(event, suspect.place, prev_hash=suspect.prev_hash, version=version, recorded_at_us=time_us)
        for version, time_us in choices
    )


def hash_at(
    event: HashedEvent,
    place: int,
    *,
    prev_hash: bytes | None = None,
    version: int | None = None,
    recorded_at_us: int | None = None,
) -> bytes:
    """Return the hash that the event has at `place`, with other members if they are given; empty if it has none."""
    prev_hash = event.prev_hash if prev_hash is None else prev_hash
    version = event.version if version is None else version
    time_us = event.recorded_at_us if recorded_at_us is None else recorded_at_us
    try:
        return event_hash(prev_hash, place, version, time_us, event.body)
    except struct.error:  # a number below zero or beyond 64 bits: no event has it
        return b""
