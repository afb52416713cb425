"""The evidence bundle: its manifest, and how it is written (docs/formats/bundle.md, sections 1 to 3).

Reading is in bundle_zip.py (container), bundle_events.py and bundle_tiles.py (contents), audit.py (the steps).
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, Any, BinaryIO, Literal

from ledger.proof.bundle.zip import BundleError, BundleFlaw, Member
from ledger.proof.format.canonical import NotCanonical, canonical
from ledger.proof.format.parse import parse_object
from ledger.proof.tlog.merkle import MAX_SIZE

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

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_KEYS_BYTES = 64 * 1024
MAX_CONSISTENCY_BYTES = 8 * 1024
MAX_STAMP_BYTES = 256 * 1024
MAX_PAGE_BYTES = 16 * 1024 * 1024
MAX_LINE_BYTES = 64 * 1024 * 1024

# Before 1980 no ZIP file was made; the true time is in the manifest.
_DATE = (1980, 1, 1, 0, 0, 0)
# A private file, for tools that unpack with the stated mode.
_MODE = 0o100600 << 16

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


def read_manifest(files: Mapping[str, Member]) -> Manifest:
    """The manifest of an archive that has all that it must. Raises BundleError."""
    if missing := ALWAYS - files.keys():
        raise BundleError(BundleFlaw.MISSING_FILE, ", ".join(sorted(missing)))
    return decode_manifest(files[MANIFEST].read(MAX_MANIFEST_BYTES))


class BundleWriter:
    """Writes the members one after the other, in flat memory, and the manifest with the digest of each at the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._files: dict[str, tuple[int, str]] = {}

    def add(self, name: str, data: bytes) -> None:
        """A small member."""
        with self.stream(name) as member:
            member.write(data)

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[MemberWriter]:
        """A member that is written piece by piece while the block runs."""
        info = zipfile.ZipInfo(name, _DATE)
        info.external_attr = _MODE
        with self._zip.open(info, "w", force_zip64=True) as handle:
            writer = MemberWriter(handle)
            yield writer
            writer.close()
        self._files[name] = writer.summary()

    def finish(self, manifest: Manifest) -> None:
        """The manifest, and the directory of the archive."""
        manifest.files = self._files.copy()
        self.add(MANIFEST, manifest.encode())
        self._zip.close()


class MemberWriter:
    """One member while it is written; small pieces are gathered, as each write to the archive costs."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._digest = sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Adds some bytes."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= 1 << 18:
            self._flush()

    def summary(self) -> tuple[int, str]:
        """Size and SHA-256, once all was written."""
        return self._size, self._digest.hexdigest()

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._digest.update(data)
        self._size += len(data)
        self._handle.write(data)
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Writes what waits."""
        self._flush()


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
