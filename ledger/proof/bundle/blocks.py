"""Many lines of events.ndjson at once: what steps 6 to 9 of docs/formats/bundle.md can say of them without a tile.

Nothing is found wrong here: lines are sound, or they are looked at again one by one by those who name what is wrong.
So each check must be at least as strict as its twin in bundle_lines.py and bundle_events.py. The work is done a column
at a time, which is quicker than a line at a time.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from operator import itemgetter, le
from typing import Any, NamedTuple

import orjson

from ledger.proof.bundle.lines import MAX_BODY_BYTES, load_line, sealed_members
from ledger.proof.format.commitments import one_opens
from ledger.proof.format.hashes import EVENT_PREFIX, HASH_BYTES, event_header
from ledger.proof.format.parse import parse_object
from ledger.proof.tlog.merkle import leaf_hashes
from ledger.proof.tlog.tiles import WIDTH

# Members of a line without sealed values, and of one with values and salts.
_PLAIN, _WITH_VALUES = 6, 8

_loads, _dumps, _SORTED = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS
_numbers = itemgetter("position", "version", "recorded_at_us")
_hashes = itemgetter("prev_hash", "hash")
_names = itemgetter("type", "stream", "id")

# Commitments and values of an event: sealed, fields, salts, withheld.
Values = tuple[Any, bytes, bytes, tuple[str, ...]]
NO_VALUES: Values = None, b"", b"", ()


class Row(NamedTuple):
    """One event of a run. `opened` is its only sealed name, where the value opens the commitment."""

    recorded_at_us: int
    version: int
    kind: str
    stream: str
    opened: str
    values: Values | None


@dataclass(slots=True)
class Run:
    """Events at consecutive positions of one tile that are sound by themselves and linked to each other.

    `leaves` is what the tile must have there. `opened` counts values that open, by type and name. `rows` is None where
    nothing but them is left to look at.
    """

    count: int
    first: int
    link: bytes
    hash: bytes
    began_us: int
    ended_us: int
    leaves: bytes
    opened: Counter[tuple[str, str]]
    rows: list[Row] | None


def sound_runs(lines: Sequence[bytes], *, positions_only: bool) -> list[Run]:
    """The events of these lines, up to one that no log could have at its position as it stands; mostly all of them.

    Whether the runs follow each other, and whether this log has them, is not known yet. With `positions_only` streams
    do not matter.
    """
    try:
        found = _columns(lines)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error):
        return []
    runs: list[Run] = []
    if found is not None:
        starts = _starts(found.positions)
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            run = _run(found, start, end, positions_only=positions_only)
            if run is None:
                break
            runs.append(run)
    return runs


@dataclass(slots=True)
class _Columns:
    """Events that are sound by themselves, a sequence for each member; `values` has what _values() says of each."""

    positions: Sequence[int]
    versions: Sequence[int]
    times_us: Sequence[int]
    links: Sequence[bytes]
    hashes: Sequence[bytes]
    leaves: Sequence[bytes]
    kinds: Sequence[str]
    streams: Sequence[str]
    values: Sequence[tuple[str, Values | None]]


def _columns(lines: Sequence[bytes]) -> _Columns | None:
    """Raises what comes of members that are missing or of another type."""
    found: list[dict[str, Any]] = [*map(load_line, lines)]
    # No object of JSON is the beginning of another. So where all of them are equal one after the other, each is.
    if _dumps(found, None, _SORTED) != b"[%b]" % b",".join(lines):
        return None
    positions, versions, times_us = zip(*map(_numbers, found), strict=True)
    if {*map(type, positions), *map(type, versions), *map(type, times_us)} != {int}:
        return None
    # 6. Each has its own hash.
    named, stated = zip(*map(_hashes, found), strict=True)
    links = [*map(unhexlify, named)]
    bodies = [line["body"].encode() for line in found]
    if max(map(len, bodies)) > MAX_BODY_BYTES:
        return None
    parts = zip(links, map(event_header, positions, versions, times_us), bodies, strict=True)
    hashes = [sha256(b"".join((EVENT_PREFIX, *three))).digest() for three in parts]
    if (*map(bytes.hex, links),) != named or (*map(bytes.hex, hashes),) != stated or {*map(len, links)} != {HASH_BYTES}:
        return None
    # 8. Bodies.
    events = [_loads(body) for body in bodies]
    if _dumps(events, None, _SORTED) != b"[%b]" % b",".join(bodies):
        events = [parse_object(body) for body in bodies]
    kinds, streams, ids = zip(*map(_names, events), strict=True)
    if {*map(type, kinds), *map(type, streams), *map(type, ids)} != {str}:
        return None
    # 9. Sealed values.
    values = [_values(line, event.get("sealed")) for line, event in zip(found, events, strict=True)]
    return _Columns(positions, versions, times_us, links, hashes, leaf_hashes(hashes), kinds, streams, values)


def _values(line: dict[str, Any], sealed: Any) -> tuple[str, Values | None]:
    """The values if there are any, and the only name if its value opens the commitment."""
    if len(line) == _WITH_VALUES and type(sealed) is dict and len(sealed) == 1:
        fields, salts = line["fields"].encode(), line["salts"].encode()
        if name := one_opens(sealed, salts, fields):
            return name, (sealed, fields, salts, ())
    if len(line) != _PLAIN:
        return "", (sealed, *sealed_members(line))
    return "", None if sealed is None else (sealed, b"", b"", ())


def _starts(positions: Sequence[int]) -> list[int]:
    """Where runs begin: at each event that is not right after the one before, or the first of its tile."""
    after = enumerate(pairwise(positions), 1)
    return [0, *[at for at, (last, next_) in after if next_ != last + 1 or not last % WIDTH]]


def _run(all_: _Columns, start: int, end: int, *, positions_only: bool) -> Run | None:
    """7. The chain, and times, of events at consecutive positions."""
    links, hashes, times_us = all_.links[start:end], all_.hashes[start:end], all_.times_us[start:end]
    if links[1:] != hashes[:-1] or not all(map(le, times_us, times_us[1:])):
        return None
    kinds, values = all_.kinds[start:end], all_.values[start:end]
    opened = [(kind, name) for kind, (name, _) in zip(kinds, values, strict=True) if name]
    rows = None
    if not positions_only or len(opened) + values.count(("", None)) != end - start:
        columns = times_us, all_.versions[start:end], kinds, all_.streams[start:end], values
        rows = [
            Row(at_us, version, kind, stream, *one) for at_us, version, kind, stream, one in zip(*columns, strict=True)
        ]
    leaves = b"".join(all_.leaves[start:end])
    began_us, ended_us = times_us[0], times_us[-1]
    return Run(
        end - start, all_.positions[start], links[0], hashes[-1], began_us, ended_us, leaves, Counter(opened), rows
    )
