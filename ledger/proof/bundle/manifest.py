"""The evidence bundle: its manifest, and how it is written (docs/formats/bundle.md, sections 1 to 3).

Reading is in bundle_zip.py (container), bundle_events.py and bundle_tiles.py (contents), audit.py (the steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from ledger.proof.bundle.zip import BundleError, BundleFlaw, Member, members
from ledger.proof.format.canonical import NotCanonical, canonical
from ledger.proof.format.parse import parse_object
from ledger.proof.tlog.key_rotation import MAX_ROTATIONS_BYTES
from ledger.proof.tlog.merkle import HASH_BYTES, MAX_SIZE
from ledger.proof.tlog.note import MAX_NOTE_BYTES
from ledger.proof.tlog.tiles import WIDTH
from ledger.proof.tlog.trust import MAX_KEYS_BYTES

FORMAT = "advice-ledger/bundle/v1"

MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint"
KEYS = "keys.txt"
EVENTS = "events.ndjson"
EDGE = "edge"
CONSISTENCY = "consistency"
ROTATIONS = "rotations"
PAGE = "index.html"
ALWAYS = frozenset((MANIFEST, CHECKPOINT, KEYS, EVENTS, EDGE, PAGE))
LEVELS = 8
MOST_STAMPS = 8

MAX_LINE_BYTES = 64 * 1024 * 1024

Kind = Literal["positions", "client", "request"]
Counts = dict[str, int]
STATES = ("disclosed", "withheld", "erased")


def tiles_name(level: int) -> str:
    """The member with the full tiles of a level."""
    return f"tiles/{level}"


def stamp_name(number: int) -> str:
    """The member with a timestamp, counted from 1."""
    return f"timestamps/{number}.der"


def as_signed(note: bytes) -> bytes:
    """The checkpoint as the log signed it, which timestamps are over: without the lines after the first signature."""
    text, separator, lines = note.rpartition(b"\n\n")
    return text + separator + lines.partition(b"\n")[0] + b"\n"


def stamp_command(name: str, digest: str) -> str:
    """What checks a timestamp, given the hex digest of what it is over."""
    taken = name.rpartition("/")[2]
    return (
        f"unzip -p case.zip {name} > {taken} &&"
        f" openssl ts -verify -token_in -in {taken} -digest {digest} -CAfile authority.pem"
    )


STAMPS = frozenset(stamp_name(number) for number in range(1, MOST_STAMPS + 1))
# Members that are read at once, and how large they may be: docs/formats/bundle.md, section 8.
_MOST_BYTES = {
    MANIFEST: 1024 * 1024,
    CHECKPOINT: MAX_NOTE_BYTES,
    KEYS: MAX_KEYS_BYTES,
    EDGE: LEVELS * WIDTH * HASH_BYTES,
    PAGE: 16 * 1024 * 1024,
    CONSISTENCY: 8 * 1024,
    ROTATIONS: MAX_ROTATIONS_BYTES,
    **dict.fromkeys(STAMPS, 256 * 1024),
}
ALLOWED = ALWAYS | {CONSISTENCY, ROTATIONS} | {tiles_name(level) for level in range(LEVELS)} | STAMPS


@dataclass(frozen=True)
class Selection:
    """What was asked for: all positions of a range, or the streams of a client or of a request."""

    kind: Kind
    client: str | None = None
    request: int = 0
    first_position: int = 0
    last_position: int = 0

    def members(self) -> dict[str, Any]:
        """As the manifest has it."""
        found: dict[str, Any] = {"kind": self.kind}
        if self.kind == "client":
            return found | {"client": self.client}
        if self.kind == "request":
            return found | {"request": self.request}
        return found | {"first_position": self.first_position, "last_position": self.last_position}

    def words(self) -> str:
        """The same for a person, who is so told nothing that is not checked."""
        if self.kind == "client":
            return "a client, whose id is not shown" if self.client is None else f"client {self.client}"
        if self.kind == "request":
            return f"request {self.request}"
        return f"positions {self.first_position} to {self.last_position}"

    def uncovered(self, size: int) -> tuple[int, int]:
        """How many positions of a range a checkpoint of this size does not cover, and the first; 0 and 0 for none."""
        first = max(self.first_position, size + 1)
        return (self.last_position - first + 1, first) if self.last_position >= first else (0, 0)


@dataclass
class Manifest:
    """What a bundle says of itself; nothing of it is believed that the other files do not show."""

    origin: str
    created_at_us: int
    checkpoint_size: int
    selection: Selection
    count: int = 0
    first_position: int = 0
    last_position: int = 0
    excluded: int = 0
    excluded_from: int = 0
    fields: dict[str, Counts] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    # The authority of each timestamp, in the order of their members.
    timestamps: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """The member manifest.json."""
        files: Any = {name: {"size": size, "sha256": digest} for name, (size, digest) in self.files.items()}
        fields: Any = self.fields
        stamps: Any = [{"file": stamp_name(at), "authority": by} for at, by in enumerate(self.timestamps, 1)]
        return canonical(
            {
                **({"timestamps": stamps} if stamps else {}),
                "format": FORMAT,
                "origin": self.origin,
                "created_at_us": self.created_at_us,
                "checkpoint_size": self.checkpoint_size,
                "selection": self.selection.members(),
                "events": {
                    "count": self.count,
                    "first_position": self.first_position,
                    "last_position": self.last_position,
                },
                "excluded": {"count": self.excluded, "first_position": self.excluded_from},
                "fields": fields,
                "files": files,
            }
        )


def count_field(fields: dict[str, Counts], name: str, state: str) -> None:
    """One more value of this name is disclosed, withheld or erased."""
    fields.setdefault(name, dict.fromkeys(STATES, 0))[state] += 1


def decode_manifest(data: bytes) -> Manifest:
    """Reads manifest.json. Raises BundleError for anything that `encode` does not write."""
    try:
        found = parse_object(data)
        if found["format"] != FORMAT:
            raise BundleError(BundleFlaw.MANIFEST, f"format {ascii(found['format'])[:60]}, where {FORMAT} is read")
        events, excluded = found["events"], found["excluded"]
        manifest = Manifest(
            origin=_text(found["origin"]),
            created_at_us=_number(found["created_at_us"]),
            checkpoint_size=_number(found["checkpoint_size"]),
            selection=_selection(found["selection"]),
            count=_number(events["count"]),
            first_position=_number(events["first_position"]),
            last_position=_number(events["last_position"]),
            excluded=_number(excluded["count"]),
            excluded_from=_number(excluded["first_position"]),
            fields={_text(name): _counts(counts) for name, counts in found["fields"].items()},
            files={_text(name): (_number(one["size"]), _text(one["sha256"])) for name, one in found["files"].items()},
            timestamps=tuple(_text(one["authority"]) for one in found.get("timestamps", ())),
        )
        if manifest.encode() != data:
            raise BundleError(BundleFlaw.MANIFEST, "members that no manifest has")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = str(error) if isinstance(error, NotCanonical) else type(error).__name__
        raise BundleError(BundleFlaw.MANIFEST, ascii(what)[:100]) from None
    return manifest


@dataclass(frozen=True)
class Bundle:
    """A bundle of which all but the events and the tiles is read. Members that are not there are None."""

    files: Mapping[str, Member]
    manifest: Manifest
    checkpoint: bytes
    keys: bytes
    edge: bytes
    page: bytes
    consistency: bytes | None
    rotations: bytes | None
    timestamps: Mapping[str, bytes]


def read_bundle(file: BinaryIO) -> Bundle:
    """Read the container and its small members. Raises BundleError, and OSError if the file cannot be read."""
    files = members(file, ALLOWED)
    if missing := ALWAYS - files.keys():
        raise BundleError(BundleFlaw.MISSING_FILE, ", ".join(sorted(missing)))
    small = {name: member.read(_MOST_BYTES[name]) for name, member in files.items() if name in _MOST_BYTES}
    return Bundle(
        files,
        decode_manifest(small[MANIFEST]),
        small[CHECKPOINT],
        small[KEYS],
        small[EDGE],
        small[PAGE],
        small.get(CONSISTENCY),
        small.get(ROTATIONS),
        {name: data for name, data in small.items() if name in STAMPS},
    )


def _selection(found: Any) -> Selection:
    kind = found["kind"]
    if kind == "client":
        client = found["client"]
        return Selection("client", client=None if client is None else _text(client))
    if kind == "request":
        return Selection("request", request=_number(found["request"]))
    if kind == "positions":
        first, last = _number(found["first_position"]), _number(found["last_position"])
        if not 1 <= first <= last:
            raise BundleError(BundleFlaw.MANIFEST, f"positions {first} to {last} are no range")
        return Selection("positions", first_position=first, last_position=last)
    raise BundleError(BundleFlaw.MANIFEST, f"selection of the kind {ascii(kind)[:60]}")


def _counts(found: Any) -> Counts:
    return {state: _number(found[state]) for state in STATES}


def _text(found: Any) -> str:
    if type(found) is not str:
        raise TypeError
    return found


def _number(found: Any) -> int:
    if type(found) is not int or not 0 <= found <= MAX_SIZE:
        raise TypeError
    return found
