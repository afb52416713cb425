"""The events of a bundle, line by line in flat memory: steps 6 to 10 of docs/format-bundle.md, section 7.

Nothing here believes a stored hash, and what is wrong becomes a finding with a name and a position. A line that is no
event at all raises BundleError: after it nothing can be relied on.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import orjson

from ledger.proof.bundle import Manifest
from ledger.proof.bundle_blocks import Before, Sound, sound_events
from ledger.proof.bundle_complete import Completeness
from ledger.proof.bundle_fields import FieldLog
from ledger.proof.bundle_findings import Problems, Wrong
from ledger.proof.bundle_lines import Line, Parts, parse_line
from ledger.proof.bundle_page import MOST_EVENTS, row
from ledger.proof.bundle_tiles import TileReader
from ledger.proof.chain import event_hash, genesis_hash
from ledger.proof.merkle import HASH_BYTES, leaf_hash
from ledger.proof.parse import parse_object
from ledger.proof.sealed import open_sealed
from ledger.proof.tiles import HEIGHT, WIDTH

# How far from its place a renumbered event is looked for.
REACH = 64

_position = attrgetter("position")


@dataclass
class Seen:
    """What the events showed, for the steps after them and for the report."""

    count: int = 0
    first_position: int = 0
    last_position: int = 0
    proven: int = 0
    links: int = 0
    opened: int = 0
    last_recorded_at_us: int = 0
    rows: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Moved:
    """An event that fits `offset` positions from where it stands."""

    position: int
    offset: int
    key: int


class EventChecker:
    """Takes the lines in order, then says what is missing. `complete` is told of each event."""

    def __init__(self, manifest: Manifest, tiles: TileReader, problems: Problems, complete: Completeness) -> None:
        self.seen = Seen()
        self.fields = FieldLog()
        self._size = manifest.checkpoint_size
        self._origin = manifest.origin
        self._tiles = tiles
        self._problems = problems
        self._complete = complete
        # The event before this one, if it is one that the log has there.
        self._link = b""
        self._link_at = 0
        self._time_us = self._time_of = 0
        self._tile_at = -1
        self._tile: bytes | None = None
        self._moved: _Moved | None = None
        self._suspects: list[tuple[int, int]] = []

    def feed(self, blocks: Iterable[bytes]) -> None:
        """Steps 6 to 9 for the next lines, whole ones in each block, and what step 10 needs. Raises BundleError."""
        for block in blocks:
            found = self._sound(block)
            taken = self._take(found) if found else 0
            if found is None or taken < len(found):
                self._each(block.split(b"\n")[taken:-1])

    def _sound(self, block: bytes) -> list[Sound] | None:
        """The events of a block that needs no closer look, as far as itself shows."""
        seen = self.seen
        # The first events are shown, and position 1 begins the chain.
        if seen.count < MOST_EVENTS or not seen.last_position:
            return None
        link = self._link if self._link_at == seen.last_position else b""
        return sound_events(block, Before(seen.last_position, link, self._time_us), self._size)

    def _take(self, found: list[Sound]) -> int:
        """Steps 6 to 10 for events that are sound, as far as the log has them; returns how many those are."""
        start = 0
        while start < len(found):
            index = (found[start].position - 1) >> HEIGHT
            end = bisect_right(found, (index + 1) << HEIGHT, start, key=_position)
            events = found if end - start == len(found) else found[start:end]
            if not self._has(index, events):
                break
            self._note(events)
            start = end
        return start

    def _has(self, index: int, events: list[Sound]) -> bool:
        """Whether the log has these events, all of one tile."""
        tile = self._tile_of(index)
        if tile is None:
            return False
        first, last = (events[0].position - 1) % WIDTH, (events[-1].position - 1) % WIDTH
        if last - first == len(events) - 1:
            there = tile[first * HASH_BYTES : (last + 1) * HASH_BYTES]
        else:
            places = [(one.position - 1) % WIDTH * HASH_BYTES for one in events]
            there = b"".join([tile[place : place + HASH_BYTES] for place in places])
        return there == b"".join([one.leaf for one in events])

    def _note(self, events: list[Sound]) -> None:
        """What the log has and is sound is seen; what remains of step 9, and step 10."""
        seen, add = self.seen, self._complete.event
        seen.count += len(events)
        seen.proven += len(events)
        at = self._link_at
        for position, _, _, _, stream, version, kind, opened, sealed, fields, salts, withheld in events:
            seen.links += position == at + 1
            at = position
            if opened:
                seen.opened += 1
                self.fields.disclosed(kind, (opened,))
            elif sealed is not None or fields or withheld:
                self._open(position, kind, sealed, fields, salts, withheld)
            add(position, stream, version, kind, fields)
        last = events[-1]
        seen.last_position = self._link_at = self._time_of = last.position
        seen.last_recorded_at_us = self._time_us = last.recorded_at_us
        self._link = last.hash
        self._moved = None

    def _each(self, lines: Iterable[bytes]) -> None:
        """The same line by line, with a name for what is wrong."""
        seen, size = self.seen, self._size
        for data in lines:
            parts = parse_line(data, seen.last_position)
            position = parts[0]
            seen.count += 1
            if seen.count <= MOST_EVENTS:
                self._show(Line(*parts))
            if not seen.last_position < position <= size:
                self._misplaced(Line(*parts))
                continue
            seen.first_position = seen.first_position or position
            seen.last_position = position
            if self._in_log(parts):
                self._examine(parts)
            else:
                self._complete.unsound(position, Line(*parts))

    def _show(self, line: Line) -> None:
        """A row of the page."""
        fields = line.fields or None
        made = row(line.position, line.recorded_at_us, line.body, fields, line.withheld, line.hash.hex())
        self.seen.rows.append(made)

    def _misplaced(self, line: Line) -> None:
        position, last, add = line.position, self.seen.last_position, self._problems.add
        if position == last:
            add(Wrong.INSERTED, position, "an event too many: its position is taken")
        elif 0 < position < last:
            add(Wrong.REORDERED, position, f"event {position} stands after event {last}", last)
        else:
            add(Wrong.INSERTED, position, f"the checkpoint covers positions 1 to {self._size}")
        self._complete.stray(position, line)

    def _in_log(self, parts: Parts) -> bool:
        """Step 6: the hash is the event's own, and the log has it here."""
        position, version, at, prev_hash, stored, body, *_ = parts
        try:
            digest = event_hash(prev_hash, position, version, at, body)
        except struct.error:  # A number below zero or beyond 64 bits: no event has it.
            digest = b""
        tile = self._tile_of((position - 1) >> HEIGHT)
        place = (position - 1) % WIDTH * HASH_BYTES
        genuine = tile is not None and tile[place : place + HASH_BYTES] == leaf_hash(stored)
        if digest == stored and (genuine or tile is None):
            self._moved = None
            return genuine
        self._explain(Line(*parts), digest, genuine=genuine)
        return False

    def _tile_of(self, index: int) -> bytes | None:
        if self._tile_at != index:
            self._tile_at = index
            self._tile = self._tiles.tile(index)
        return self._tile

    def _examine(self, parts: Parts) -> None:
        """Steps 7 to 9, and 10, for an event that the log has here."""
        position, version, at, prev_hash, stored, body, fields, salts, withheld = parts
        self.seen.proven += 1
        # 7. Links and times.
        self._check_link(position, at, prev_hash)
        self._link, self._link_at = stored, position
        # 8. The body.
        try:
            event = parse_object(body)
        except ValueError as error:
            self._problems.add(Wrong.MALFORMED, position, f"the body is not canonical JSON: {str(error)[:200]}")
            return
        kind, stream = event.get("type"), event.get("stream")
        if type(kind) is not str or type(stream) is not str or type(event.get("id")) is not str:
            self._problems.add(Wrong.MALFORMED, position, "the body lacks id, stream or type")
            return
        # 9. Sealed values.
        sealed = event.get("sealed")
        if sealed is not None or fields or withheld:
            self._open(position, kind, sealed, fields, salts, withheld)
        # 10. Whether it belongs here, and what is missing before it.
        self._complete.event(position, stream, version, kind, fields)

    def _explain(self, line: Line, digest: bytes, *, genuine: bool) -> None:
        """Names what is wrong with a line whose hash is not its own, or is not the log's."""
        position, add = line.position, self._problems.add
        moved, self._moved = self._moved, None
        if genuine:
            add(Wrong.EDITED, position, "the event was changed; the log has the hash that stands with it")
        elif digest == line.hash:
            message = "replaced with its hash recomputed, or put in: the log has another event here"
            key = add(Wrong.EDITED, position, message)
            self._complete.replaced(position, line, key)
            self._suspect(position, key)
        elif self._problems.full:
            add(Wrong.EDITED, position, "")
        elif not self._swapped(line):
            self._displaced(line, moved)

    def _displaced(self, line: Line, moved: _Moved | None) -> None:
        position = line.position
        offset = self._offset(line)
        if not offset:
            message = "the event or its hash was changed after it was recorded"
            key = self._problems.add(Wrong.EDITED, position, message)
            self._suspect(position, key)
        elif moved is not None and moved.offset == offset:
            if offset < 0:
                message = f"{-offset} put in, and events from {moved.position} on renumbered"
                first = moved.position + offset
                self._drop_suspects(first, moved.position)
                self._problems.replace(moved.key, Wrong.INSERTED, first, message, position)
            else:
                message = f"{offset} missing, and events from {moved.position} on renumbered"
                self._problems.replace(moved.key, Wrong.DELETED, moved.position, message, position)
            self._moved = moved
        else:
            message = f"event {position + offset} stands at {position}"
            key = self._problems.add(Wrong.REORDERED, position, message, max(position, position + offset))
            self._moved = _Moved(position, offset, key)

    def _swapped(self, line: Line) -> bool:
        """Whether the event was recorded where an earlier one stands that is not what the log has."""
        found = [one for one in self._problems if one.wrong is Wrong.REORDERED and one.last_position == line.position]
        if any(_fits(line, one.position) for one in found):
            return True
        for place, key in self._suspects:
            # One that was pushed back a little by an event put in has not changed places with that.
            if line.position - place > REACH and _fits(line, place):
                message = f"event {place} stands at {line.position}, another one in its place"
                self._problems.replace(key, Wrong.REORDERED, place, message, line.position)
                return True
        return False

    def _suspect(self, position: int, key: int) -> None:
        if not self._problems.full:
            self._suspects.append((position, key))

    def _drop_suspects(self, first: int, last: int) -> None:
        for place, key in self._suspects:
            if first <= place < last:
                self._problems.drop(key)

    @staticmethod
    def _offset(line: Line) -> int:
        for distance in range(1, REACH + 1):
            for offset in (-distance, distance):
                if line.position + offset > 0 and _fits(line, line.position + offset):
                    return offset
        return 0

    def _check_link(self, position: int, at: int, prev_hash: bytes) -> None:
        if self._link_at == position - 1 > 0:
            self.seen.links += 1
            if prev_hash != self._link:
                message = "the log has this event and the one before, and this one names another hash"
                self._problems.add(Wrong.UNLINKED, position, message)
        elif position == 1 and prev_hash != genesis_hash(self._origin):
            message = "the first event does not name the genesis hash of the origin"
            self._problems.add(Wrong.GENESIS_MISMATCH, 1, message)
        if at < self._time_us:
            message = f"recorded {self._time_us - at} µs before event {self._time_of}"
            self._problems.add(Wrong.TIME_DECREASING, position, message)
        self._time_us, self._time_of = at, position
        self.seen.last_recorded_at_us = at

    def _open(
        self, position: int, kind: str, sealed: Any, fields: bytes, salts: bytes, withheld: tuple[str, ...]
    ) -> None:
        """Step 9: which values open, and which names have none."""
        wrong = Wrong.COMMITMENT_MISMATCH
        if type(sealed) is not dict:
            self._problems.add(wrong, position, "values or withheld names without commitments")
            return
        opened: Any = {}
        if fields:
            try:
                count = open_sealed(sealed, salts, fields)
            except ValueError as error:
                self._problems.add(wrong, position, str(error)[:300])
                return
            self.seen.opened += count
            if count == len(sealed) and not withheld:
                self.fields.disclosed(kind, sealed)
                return
            opened = orjson.loads(fields)
        for name in withheld:
            if name in opened or name not in sealed:
                message = "a name is said to be withheld that the event does not commit to, or that is there"
                self._problems.add(wrong, position, message)
                return
        for name in sealed:
            if name in opened:
                self.fields.disclosed(kind, (name,))
            else:
                self.fields.absent(kind, name, "withheld" if name in withheld else "erased", position)


def _fits(line: Line, place: int) -> bool:
    """Whether the line's hash is its own, had it been recorded at `place`."""
    try:
        return event_hash(line.prev_hash, place, line.version, line.recorded_at_us, line.body) == line.hash
    except struct.error:
        return False
