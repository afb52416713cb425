"""Check the events of a bundle, line by line in flat memory: steps 6 to 9 of docs/formats/bundle.md, section 7.

No stored hash is believed, and whatever is wrong becomes a finding with a kind and a position. A line that is not an
event raises BundleError: nothing after it can be relied on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ledger.proof.bundle.complete import Completeness, Place
from ledger.proof.bundle.fields import SealedFields
from ledger.proof.bundle.lines import EventLine, parse_line
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.page import MOST_EVENTS, row
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.chain.displacement import Displacements, hash_at
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.hashes import genesis_hash
from ledger.proof.format.parse import parse_object
from ledger.proof.tlog.merkle import HASH_BYTES, leaf_hash
from ledger.proof.tlog.tiles import HEIGHT, WIDTH


@dataclass
class Seen:
    """What the events showed, for the steps after them and for the report."""

    count: int = 0
    first_position: int = 0
    last_position: int = 0
    proven: int = 0
    links: int = 0
    last_recorded_at_us: int = 0
    rows: list[str] = field(default_factory=list)


class EventChecker:
    """Check the lines in order. `complete` is told the place of each event, and then knows what is missing."""

    def __init__(self, manifest: Manifest, tiles: TileReader, findings: Findings, complete: Completeness) -> None:
        self.seen = Seen()
        self.fields = SealedFields()
        self._size = manifest.checkpoint_size
        self._origin = manifest.origin
        self._tiles = tiles
        self._findings = findings
        self._complete = complete
        self._displaced = Displacements(findings)
        # Position, hash and time of the last event that the log has.
        self._link_at = self._time_us = 0
        self._link = b""

    def feed(self, lines: Iterable[bytes]) -> None:
        """Steps 6 to 9 for the next lines, and what step 10 needs. Raises BundleError."""
        seen = self.seen
        for data in lines:
            line = parse_line(data, seen.last_position)
            seen.count += 1
            place = self._place(line)
            self._complete.take(line, place)
            if seen.count <= MOST_EVENTS:
                seen.rows.append(row(line))

    def _place(self, line: EventLine) -> Place:
        """Steps 6 to 9: where this event stands, and what is wrong with it there."""
        position, last, add = line.position, self.seen.last_position, self._findings.add
        if last < position <= self._size:
            self.seen.first_position = self.seen.first_position or position
            self.seen.last_position = position
            return self._in_log(line)
        if position == last:
            add(Kind.INSERTED, position, "an event too many: its position is taken")
        elif 0 < position < last:
            add(Kind.REORDERED, position, f"event {position} stands after event {last}", last)
        else:
            add(Kind.INSERTED, position, f"the checkpoint covers positions 1 to {self._size}")
        return Place(in_order=False)

    def _in_log(self, line: EventLine) -> Place:
        """Step 6: the hash is the event's own, and the log has it at this position."""
        position = line.position
        tile = self._tiles.tile((position - 1) >> HEIGHT)
        at = (position - 1) % WIDTH * HASH_BYTES
        logged = tile is not None and tile[at : at + HASH_BYTES] == leaf_hash(line.hash)
        own = hash_at(line, position) == line.hash
        if own and (logged or tile is None):
            self._displaced.in_place()
            return self._examine(line) if logged else Place()
        if logged:
            message = "the event was changed; the log has the hash that stands with it"
            self._findings.add(Kind.EDITED, position, message)
            self._displaced.forget_moved()
        elif own:
            message = "replaced with its hash recomputed, or put in: the log has another event here"
            key = self._findings.add(Kind.EDITED, position, message)
            self._displaced.forget_moved()
            self._displaced.suspect(line, {line.hash}, key)
            return Place(replaced=key)
        elif not self._displaced.fits_renumbered(line):
            self._displaced.explain(line)
        return Place()

    def _examine(self, line: EventLine) -> Place:
        """Steps 7 to 9, for an event that the log has here."""
        position, add = line.position, self._findings.add
        self.seen.proven += 1
        # 7. Links and times.
        self._check_link(line)
        # 8. The body.
        try:
            body = parse_object(line.body)
        except ValueError as error:
            add(Kind.MALFORMED, position, f"the body is not canonical JSON: {str(error)[:200]}")
            return Place()
        event_type, stream = body.get("type"), body.get("stream")
        if type(event_type) is not str or type(stream) is not str or type(body.get("id")) is not str:
            add(Kind.MALFORMED, position, "the body lacks id, stream or type")
            return Place()
        # 9. Sealed values.
        sealed: Any = body.get("sealed")
        if sealed is not None or line.fields or line.withheld:
            self.fields.check(line, event_type, sealed, self._findings)
        return Place(stream=stream, event_type=event_type)

    def _check_link(self, line: EventLine) -> None:
        position, time_us, add = line.position, line.recorded_at_us, self._findings.add
        if self._link_at == position - 1 > 0:
            self.seen.links += 1
            if line.prev_hash != self._link:
                message = "the log has this event and the one before, and this one names another hash"
                add(Kind.UNLINKED, position, message)
        elif position == 1 and line.prev_hash != genesis_hash(self._origin):
            add(Kind.GENESIS_MISMATCH, 1, "the first event does not name the genesis hash of the origin")
        if time_us < self._time_us:
            add(Kind.TIME_DECREASING, position, f"recorded {self._time_us - time_us} µs before event {self._link_at}")
        self._link, self._link_at = line.hash, position
        self._time_us = self.seen.last_recorded_at_us = time_us
