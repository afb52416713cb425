"""The members of a bundle, and its manifest: docs/formats/bundle.md, sections 1 and 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO

from ledger.proof.bundle.selection import Selection, number_of, parse_selection, text_of
from ledger.proof.bundle.window import Within
from ledger.proof.bundle.zip import BundleError, BundleFlaw, Member, members
from ledger.proof.casefile.moments import DAY_S, MOST_CHANGES, LocalTime
from ledger.proof.errors import malformation
from ledger.proof.format.canonical import canonical, parse_object
from ledger.proof.tlog.key_rotation import MAX_ROTATIONS_BYTES
from ledger.proof.tlog.merkle import HASH_BYTES
from ledger.proof.tlog.note import MAX_NOTE_BYTES, NoteError, VerifierKey
from ledger.proof.tlog.tiles import WIDTH
from ledger.proof.tlog.trust import MAX_KEYS_BYTES, Unusable, read_keys

FORMAT = "advice-ledger/bundle/v2"

MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint"
KEYS = "keys.txt"
EVENTS = "events.ndjson"
EDGE = "edge"
CONSISTENCY = "consistency"
ROTATIONS = "rotations"
HEADS = "heads"
SIGNING_KEYS = "signing-keys"
RECORDING_KEYS = "recording-keys"
ATTESTATIONS = "attestations"
PAGE = "case.html"
ALWAYS = frozenset((MANIFEST, CHECKPOINT, KEYS, EVENTS, EDGE, PAGE))
LEVELS = 8
MOST_STAMPS = 8

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_HEADS_BYTES = 16 * 1024 * 1024
MAX_ZONE_CHARS = 64

Counts = dict[str, int]
STATES = ("disclosed", "withheld", "erased")


def tiles_name(level: int) -> str:
    """Return the name of the member with the full tiles of a level."""
    return f"tiles/{level}"


def stamp_name(number: int) -> str:
    """Return the name of the member with a timestamp, counted from 1."""
    return f"timestamps/{number}.der"


def as_signed(note: bytes) -> bytes:
    """Return the checkpoint as the signer made it, up to the first signature. Timestamps are over this text."""
    text, separator, lines = note.rpartition(b"\n\n")
    return text + separator + lines.partition(b"\n")[0] + b"\n"


def stamp_command(name: str, digest: str) -> str:
    """Return the shell command that verifies a timestamp over this digest (hex)."""
    file = name.rpartition("/")[2]
    return (
        f"unzip -p case.zip {name} > {file} &&"
        f" openssl ts -verify -token_in -in {file} -digest {digest} -CAfile authority.pem"
    )


STAMPS = frozenset(stamp_name(number) for number in range(1, MOST_STAMPS + 1))
# The size limits of members that are read at once: docs/formats/bundle.md, section 8.
_MOST_BYTES = {
    MANIFEST: 1024 * 1024,
    CHECKPOINT: MAX_NOTE_BYTES,
    KEYS: MAX_KEYS_BYTES,
    EDGE: LEVELS * WIDTH * HASH_BYTES,
    CONSISTENCY: 8 * 1024,
    ROTATIONS: MAX_ROTATIONS_BYTES,
    **dict.fromkeys((HEADS, SIGNING_KEYS, RECORDING_KEYS), MAX_HEADS_BYTES),
    **dict.fromkeys(STAMPS, 256 * 1024),
}
ALLOWED = ALWAYS | STAMPS | {CONSISTENCY, ROTATIONS, HEADS, SIGNING_KEYS, RECORDING_KEYS, ATTESTATIONS}
ALLOWED |= {tiles_name(level) for level in range(LEVELS)}


@dataclass
class Manifest:
    """The claims of a bundle about itself. Each is compared with the other files."""

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
    local_time: LocalTime = field(default_factory=LocalTime)
    # The window of time of a bundle of a client.
    within: Within = field(default_factory=Within)

    def encode(self) -> bytes:
        """Return the member manifest.json."""
        files: Any = {name: {"size": size, "sha256": digest} for name, (size, digest) in self.files.items()}
        fields: Any = self.fields
        events: Any = {"count": self.count, "first_position": self.first_position, "last_position": self.last_position}
        stamps: Any = [{"file": stamp_name(number), "authority": by} for number, by in enumerate(self.timestamps, 1)]
        offsets: Any = [{"from_us": from_us, "offset_s": seconds} for from_us, seconds in self.local_time.offsets]
        return canonical(
            {
                **({"timestamps": stamps} if stamps else {}),
                **({"within": vars(self.within)} if self.selection.until_us else {}),
                "format": FORMAT,
                "origin": self.origin,
                "created_at_us": self.created_at_us,
                "checkpoint_size": self.checkpoint_size,
                "selection": self.selection.members(),
                "events": events,
                "excluded": {"count": self.excluded, "first_position": self.excluded_from},
                "fields": fields,
                "files": files,
                "zone": {"name": self.local_time.zone, "offsets": offsets},
            }
        )


def count_field(fields: dict[str, Counts], name: str, state: str) -> None:
    """Count one more value of this name: disclosed, withheld or erased."""
    fields.setdefault(name, dict.fromkeys(STATES, 0))[state] += 1


def decode_manifest(data: bytes) -> Manifest:
    """Parse manifest.json. Raises BundleError for anything that `encode` does not write."""
    try:
        content = parse_object(data)
        if content["format"] != FORMAT:
            raise BundleError(BundleFlaw.MANIFEST, f"format {ascii(content['format'])[:60]}, where {FORMAT} is read")
        events, excluded = content["events"], content["excluded"]
        manifest = Manifest(
            origin=text_of(content["origin"]),
            created_at_us=number_of(content["created_at_us"]),
            checkpoint_size=number_of(content["checkpoint_size"]),
            selection=parse_selection(content["selection"]),
            count=number_of(events["count"]),
            first_position=number_of(events["first_position"]),
            last_position=number_of(events["last_position"]),
            excluded=number_of(excluded["count"]),
            excluded_from=number_of(excluded["first_position"]),
            fields={text_of(name): _counts(counts) for name, counts in content["fields"].items()},
            files={
                text_of(name): (number_of(entry["size"]), text_of(entry["sha256"]))
                for name, entry in content["files"].items()
            },
            timestamps=tuple(text_of(entry["authority"]) for entry in content.get("timestamps", ())),
            local_time=_local_time(content["zone"]),
            within=Within(*(number_of(content["within"][each.name]) for each in fields(Within)))
            if "within" in content
            else Within(),
        )
        if manifest.encode() != data:
            raise BundleError(BundleFlaw.MANIFEST, "members that a manifest does not have")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(BundleFlaw.MANIFEST, malformation(error)) from None
    return manifest


@dataclass(frozen=True)
class Bundle:
    """A bundle with its small members read. A missing member is None; events and tiles are read later."""

    files: Mapping[str, Member]
    manifest: Manifest
    checkpoint: bytes
    keys: tuple[VerifierKey, ...]
    edge: bytes
    consistency: bytes | None
    rotations: bytes | None
    heads: bytes | None
    signing_keys: bytes | None
    recording_keys: bytes | None
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
        _claimed_keys(small[KEYS]),
        small[EDGE],
        small.get(CONSISTENCY),
        small.get(ROTATIONS),
        small.get(HEADS),
        small.get(SIGNING_KEYS),
        small.get(RECORDING_KEYS),
        {name: data for name, data in small.items() if name in STAMPS},
    )


def _claimed_keys(data: bytes) -> tuple[VerifierKey, ...]:
    """Return the keys of keys.txt, which are only the maker's claim."""
    try:
        return tuple(VerifierKey.parse(text) for text in read_keys(data, KEYS))
    except (NoteError, Unusable) as error:
        raise BundleError(BundleFlaw.KEYS, str(error)[:200]) from None


def _local_time(value: Any) -> LocalTime:
    """Parse the name of the time zone and its offsets, in order of time."""
    offsets = tuple((number_of(change["from_us"]), change["offset_s"]) for change in value["offsets"])
    name, starts = text_of(value["name"]), [from_us for from_us, _ in offsets]
    if starts != sorted(set(starts)) or len(offsets) > MOST_CHANGES or len(name) > MAX_ZONE_CHARS:
        raise ValueError("malformed time zone")
    if any(type(offset_s) is not int or abs(offset_s) >= DAY_S for _, offset_s in offsets):
        raise ValueError("an offset that no time zone has")
    return LocalTime(name, offsets)


def _counts(value: Any) -> Counts:
    return {state: number_of(value[state]) for state in STATES}
