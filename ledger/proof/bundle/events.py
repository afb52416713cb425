"""The events of a bundle, line by line in flat memory: steps 6 to 10 of docs/formats/bundle.md, section 7.

Nothing here believes a stored hash, and what is wrong becomes a finding with a name and a position. A line that is no
event at all raises BundleError: after it nothing can be relied on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ledger.proof.bundle.blocks import NO_VALUES, Row, Run, sound_runs
from ledger.proof.bundle.complete import Completeness
from ledger.proof.bundle.explain import Explainer
from ledger.proof.bundle.fields import FieldLog
from ledger.proof.bundle.findings import Problems, Wrong
from ledger.proof.bundle.lines import Line, Parts, parse_line
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.page import MOST_EVENTS, row
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.hashes import event_hash, genesis_hash
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
    opened: int = 0
    last_recorded_at_us: int = 0
    rows: list[str] = field(default_factory=list)


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
        self._explainer = Explainer(problems, complete)

    def feed(self, groups: Iterable[list[bytes]]) -> None:
        """Steps 6 to 9 for the next lines, and what step 10 needs. Raises BundleError."""
        for lines in groups:
            taken = self._take(sound_runs(lines, positions_only=self._complete.positions_only))
            if taken < len(lines):
                self._each(lines[taken:])

    def _take(self, runs: Sequence[Run]) -> int:
        """Steps 6 to 10 for runs, up to one that needs a closer look; returns how many events that are."""
        taken = 0
        for run in runs:
            if not self._follows(run) or not self._has(run):
                break
            if run.rows is not None:
                self._note_rows(run, run.rows)
            elif self.fields.knows(run.opened):
                self._note(run)
            else:
                break
            self.seen.links += run.count - (run.first != self._link_at + 1)
            self._link, self._link_at = run.hash, self.seen.last_position
            self._time_us, self._time_of = run.ended_us, self.seen.last_position
            self._explainer.in_place()
            taken += run.count
        return taken

    def _follows(self, run: Run) -> bool:
        """Whether nothing is odd about what was before. The first events are shown, and position 1 begins the chain."""
        seen, last = self.seen, run.first + run.count - 1
        if seen.count < MOST_EVENTS or not 0 < seen.last_position < run.first or last > self._size:
            return False
        if run.began_us < self._time_us:
            return False
        return run.first != self._link_at + 1 or run.link == self._link

    def _has(self, run: Run) -> bool:
        """Whether the log has these events there."""
        tile = self._tile_of((run.first - 1) >> HEIGHT)
        place = (run.first - 1) % WIDTH * HASH_BYTES
        return tile is not None and tile[place : place + len(run.leaves)] == run.leaves

    def _note(self, run: Run) -> None:
        """Steps 9 and 10 for events of which only the positions are left to look at."""
        seen = self.seen
        for (kind, name), events in run.opened.items():
            seen.opened += events
            self.fields.disclosed(kind, (name,), events)
        seen.count += run.count
        seen.proven += run.count
        seen.last_position = run.first + run.count - 1
        seen.last_recorded_at_us = run.ended_us
        self._complete.stretch(run.first, run.count)

    def _note_rows(self, run: Run, rows: Sequence[Row]) -> None:
        """The same one by one. A BundleError finds the counts as they are then."""
        seen = self.seen
        for position, (at, version, kind, stream, opened, values) in enumerate(rows, run.first):
            seen.count += 1
            seen.proven += 1
            seen.last_position, seen.last_recorded_at_us = position, at
            sealed, fields, salts, withheld = values or NO_VALUES
            if opened:
                seen.opened += 1
                self.fields.disclosed(kind, (opened,))
            elif values is not None:
                self._open(position, kind, sealed, fields, salts, withheld)
            self._complete.event(position, stream, version, kind, fields)

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
            self._explainer.in_place()
            return genuine
        self._explainer.explain(Line(*parts), digest, genuine=genuine)
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
            self._complete.unsound(position, Line(*parts))
            return
        kind, stream = event.get("type"), event.get("stream")
        if type(kind) is not str or type(stream) is not str or type(event.get("id")) is not str:
            self._problems.add(Wrong.MALFORMED, position, "the body lacks id, stream or type")
            self._complete.unsound(position, Line(*parts))
            return
        # 9. Sealed values.
        sealed = event.get("sealed")
        if sealed is not None or fields or withheld:
            self._open(position, kind, sealed, fields, salts, withheld)
        # 10. Whether it belongs here, and what is missing before it.
        self._complete.event(position, stream, version, kind, fields)

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
