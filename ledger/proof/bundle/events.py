"""Check the events of a bundle, line by line: steps 6 to 9, 12 and 13 of docs/formats/bundle.md, section 7.

No stored hash is believed, and each fault becomes a finding with a kind and a position. A line that is not an event
raises BundleError, because nothing after it can be relied on.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from ledger.proof.acts.checker import ActsChecker
from ledger.proof.bundle.complete import Completeness, Place
from ledger.proof.bundle.erased import ErasedValues
from ledger.proof.bundle.manifest import STATES, Counts, Manifest
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.casefile.collected import Collected
from ledger.proof.chain.displacement import Displacements, hash_at
from ledger.proof.errors import malformation
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.canonical import parse_object
from ledger.proof.format.commitments import MAX_VALUE_BYTES, open_sealed
from ledger.proof.format.events import EventLine
from ledger.proof.format.hashes import genesis_hash
from ledger.proof.tlog.merkle import HASH_BYTES, leaf_hash
from ledger.proof.tlog.tiles import HEIGHT, WIDTH

MAX_BODY_BYTES = 1_048_576
# Parsed JSON may take seventy times its length. A line longer than this must match _FLAT before it is parsed: only
# `withheld` may be a list, of at most 64 KiB.
LARGE_BYTES = 1024 * 1024
_FLAT = re.compile(
    rb'\{(?:"[a-z_]{1,20}":(?:"(?:[^"\\]++|\\.)*+"|-?[0-9]{1,20}|\[[^][{}]{0,65536}\])(?:,|\}\Z)){6,9}', re.DOTALL
)
# The limit of lists and objects in a value, as these take most memory. It holds for each value, not for their sum.
MAX_CONTAINERS = 4_194_304
# Bytes of the shortest member of `salts`: 64 digits, a name of one letter, four quotes and a colon.
_SALT_BYTES = 70

# The members that each line has; three more are about sealed values.
_PLAIN = 6

MOST_NAMES = 2000
MOST_RANGES = 200

Ranges = list[tuple[int, int]]


@dataclass
class Seen:
    """Counts of the events, for later steps and for the report."""

    count: int = 0
    first_position: int = 0
    last_position: int = 0
    proven: int = 0
    links: int = 0
    last_recorded_at_us: int = 0
    collected: Collected = field(default_factory=Collected)


class Attestations(Protocol):
    """What EventChecker needs of ledger.proof.bundle.attestations."""

    def take(self, position: int, body: bytes) -> None:
        """Check that an event is attested."""


class EventChecker:
    """Check the lines in order. `complete` gets the place of each event and finds what is missing.

    `of_keys` are proven events that register and revoke signing keys.
    """

    def __init__(
        self,
        manifest: Manifest,
        tiles: TileReader,
        findings: Findings,
        complete: Completeness,
        attestations: Attestations,
        of_keys: Iterable[tuple[int, int, dict[str, Any]]] = (),
    ) -> None:
        self.seen = Seen()
        self.fields = SealedFields()
        self.erased = ErasedValues()
        self.acts = ActsChecker(manifest.origin, findings.add, partial=True, of_keys=of_keys)
        self._size = manifest.checkpoint_size
        self._origin = manifest.origin
        self._tiles = tiles
        self._findings = findings
        self._complete = complete
        self._attestations = attestations
        self._displaced = Displacements(findings)
        # Position, hash and time of the last event that the transparency log has.
        self._link_at = self._time_us = 0
        self._link = b""

    def feed(self, lines: Iterable[bytes]) -> None:
        """Check the next lines. Raises BundleError."""
        seen = self.seen
        for data in lines:
            line = parse_line(data, seen.last_position)
            seen.count += 1
            place = self._place(line)
            self._complete.add(line, place)
            seen.collected.add(line, len(data))

    def _place(self, line: EventLine) -> Place:
        """Check one event: steps 6 to 9."""
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
        """Step 6: the hash is the event's own, and the transparency log has it at this position."""
        position = line.position
        tile = self._tiles.tile((position - 1) >> HEIGHT)
        offset = (position - 1) % WIDTH * HASH_BYTES
        logged = tile is not None and tile[offset : offset + HASH_BYTES] == leaf_hash(line.hash)
        own = hash_at(line, position) == line.hash
        if own and (logged or tile is None):
            self._displaced.in_place()
            return self._examine(line) if logged else Place()
        if logged:
            message = "the event was changed; the transparency log has the hash that the file gives for it"
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
        """Steps 7 to 9, 12 and 13, for an event that the transparency log has here."""
        position, add = line.position, self._findings.add
        self.seen.proven += 1
        # 7. Links and times.
        self._check_link(line)
        # 13. The recording key.
        self._attestations.take(position, line.body)
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
            self.erased.gone(stream, self.fields.check(line, event_type, sealed, self._findings))
        self.erased.ends(position, stream, event_type, body)
        # 12. Signed acts.
        self.acts.take(position, line.recorded_at_us, body)
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


class _Malformed(ValueError):
    """A malformed line; the message says why."""


def parse_line(data: bytes, after: int) -> EventLine:
    """Parse a line. Raises BundleError, with the position `after` which the line stands, if it is malformed."""
    try:
        # A large line is checked before it is parsed.
        if len(data) > LARGE_BYTES and not _FLAT.fullmatch(data):
            raise _Malformed("too large for its contents")
        members = orjson.loads(data)
        if orjson.dumps(members, option=orjson.OPT_SORT_KEYS) != data:
            raise _Malformed("not in canonical form")
        position, version, time_us = members["position"], members["version"], members["recorded_at_us"]
        if type(position) is not int or type(version) is not int or type(time_us) is not int:
            raise _Malformed("malformed number")
        prev_hex, hash_hex = members["prev_hash"], members["hash"]
        prev_hash, digest, body = unhexlify(prev_hex), unhexlify(hash_hex), members["body"].encode()
        if len(hash_hex) != 64 or len(prev_hex) != 64 or digest.hex() != hash_hex or prev_hash.hex() != prev_hex:
            raise _Malformed("malformed hash")
        if len(body) > MAX_BODY_BYTES:
            raise _Malformed(f"a body of more than {MAX_BODY_BYTES} bytes")
        return EventLine(position, version, time_us, prev_hash, digest, body, *_sealed_members(members))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(BundleFlaw.LINE, f"after position {after}: {malformation(error)}") from None


def _sealed_members(members: dict[str, Any]) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Return values, salts, withheld names. Raises ValueError, or TypeError or AttributeError for wrong types."""
    more = len(members) - _PLAIN
    fields = salts = b""
    withheld: Any = ()
    if "fields" in members:
        fields, salts = members["fields"].encode(), members["salts"].encode()
        more -= 2
        # The number of names that the event commits to is not known yet. Each of them has a salt.
        if len(fields) > len(salts) + len(salts) // _SALT_BYTES * MAX_VALUE_BYTES:
            raise _Malformed("sealed values that are too large")
        if len(fields) > LARGE_BYTES and fields.count(b"[") + fields.count(b"{") > MAX_CONTAINERS:
            raise _Malformed("sealed values of too many parts")
    if "withheld" in members:
        withheld = members["withheld"]
        if type(withheld) is not list or not withheld or sorted(set(withheld)) != withheld:
            raise _Malformed("malformed withheld names")
        more -= 1
    if more or ("fields" in members and not (fields and salts)) or any(type(name) is not str for name in withheld):
        raise _Malformed("other members than an event has")
    return fields, salts, tuple(withheld)


class SealedFields:
    """Open the values of events, and count those that are withheld or erased.

    Positions of absent values are kept as ranges, the first MOST_RANGES of each name.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.counts: dict[str, Counts] = {}
        self.ranges: dict[tuple[str, str], Ranges] = {}

    def check(self, line: EventLine, event_type: str, sealed: Any, findings: Findings) -> int:
        """Open the values of an event, and count each name that it commits to. Return how many values are erased."""
        opened: Any = {}
        if type(sealed) is not dict:
            findings.add(Kind.COMMITMENT_MISMATCH, line.position, "values or withheld names without commitments")
            return 0
        if line.fields:
            try:
                count = open_sealed(sealed, line.salts, line.fields)
            except ValueError as error:
                findings.add(Kind.COMMITMENT_MISMATCH, line.position, str(error)[:300])
                return 0
            self.opened += count
            opened = sealed if count == len(sealed) else orjson.loads(line.fields)
        for name in line.withheld:
            if name in opened or name not in sealed:
                message = "a name is marked withheld that is disclosed, or that the event does not commit to"
                findings.add(Kind.COMMITMENT_MISMATCH, line.position, message)
                return 0
        erased = 0
        for name in sealed:
            state = "disclosed" if name in opened else "withheld" if name in line.withheld else "erased"
            self._count(f"{event_type}.{name}", state, line.position)
            erased += state == "erased"
        return erased

    def _count(self, name: str, state: str, position: int) -> None:
        counts = self.counts.get(name)
        if counts is None:
            if len(self.counts) >= MOST_NAMES or len(name) > MOST_NAMES:
                raise BundleError(BundleFlaw.LINE, f"more than {MOST_NAMES} names of sealed fields")
            counts = self.counts[name] = dict.fromkeys(STATES, 0)
        counts[state] += 1
        if state == "disclosed":
            return
        ranges = self.ranges.setdefault((name, state), [])
        if ranges and ranges[-1][1] == position - 1:
            ranges[-1] = ranges[-1][0], position
        elif len(ranges) < MOST_RANGES:
            ranges.append((position, position))
