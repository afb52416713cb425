"""Check that a bundle has all of the selection and nothing else: step 10 of docs/formats/bundle.md, section 7.

A range has every position. A stream has versions 1, 2, 3…; each stream of a client discloses its client_id. No bundle
of streams can show that a stream has no later event, or that a client has no other stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.one_client import OneClient
from ledger.proof.bundle.shown_end import ShownEnd, StreamEnds
from ledger.proof.bundle.window import WindowEvents, Within
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.findings import CONTENTS, Findings, Kind
from ledger.proof.format.events import EventLine

MAX_STREAMS = 1_000_000
CLIENT_MEMBER = b'"client_id":'
_PUT_IN = "put in: the log has another event here, and another event has this version of the stream"


@dataclass(frozen=True)
class Place:
    """The place of an event.

    `stream` and `event_type` are those of its body, if the transparency log has the event there. `replaced`: the key of
    the finding that the transparency log has another event there, while this one fits its own hash.
    """

    in_order: bool = True
    stream: str | None = None
    event_type: str = ""
    replaced: int | None = None


@dataclass(slots=True)
class _Gap:
    """Missing positions of the range, or versions of a stream, from `first` to `last`."""

    stream: str
    first: int
    last: int
    key: int


class Completeness:
    """`add` each event in order; then `finish` finds what is missing at the end."""

    def __init__(self, manifest: Manifest, findings: Findings, ends: StreamEnds | None = None) -> None:
        selection = self._selection = manifest.selection
        self._findings = findings
        self._size = manifest.checkpoint_size
        self._excluded = manifest.excluded, manifest.excluded_from
        self._range = selection.kind == "positions"
        # The client_id that each stream must show: the manifest's, or else the first that is disclosed.
        self._names: tuple[Any, ...] = selection.names
        self._one = OneClient()
        # Streams without a disclosed client_id so far, and the position of the first event of each.
        self._unshown: dict[str, int] = {}
        self._stream = f"request-{selection.request}" if selection.kind == "request" else None
        self._first = self._next = selection.first_position
        # A position beyond the checkpoint is not missing; the manifest counts it as excluded.
        self._last = min(selection.last_position, manifest.checkpoint_size)
        self._versions: dict[str, int] = {}
        self._window = WindowEvents(selection)
        self._gaps: list[_Gap] = []
        # Events that the transparency log does not have there: position and key of the finding, by stream and version.
        self._replaced: dict[tuple[str, int], tuple[int, int]] = {}
        # Events of an unknown stream, which may be the missing ones.
        self._unknown = 0
        self._ends = ends
        self.shown = None if ends is None else ShownEnd(ends.as_of)
        # The last event of each stream up to the position of `ends`: its version and its position.
        self._by_then: dict[str, tuple[int, int]] = {}

    @property
    def of_range(self) -> bool:
        """Return True if the bundle is of a range of positions."""
        return self._range

    @property
    def within(self) -> Within:
        """Return the number of events within the window of time, if there is one."""
        return self._window.within

    @property
    def streams(self) -> int:
        """Return the number of streams in a bundle of streams."""
        return len(self._versions)

    def add(self, line: EventLine, place: Place) -> None:
        """Add the next event."""
        if not place.in_order:
            self._stray(line)
        elif self._range:
            self._position(line.position)
        elif place.stream is not None:
            if self._selection.kind != "search":
                self._of_selection(line, place.stream, place.event_type)
            elif line.position > self._selection.last_position:
                self._findings.add(Kind.INSERTED, line.position, "after the end of the search")
            if (place.stream, line.version) in self._replaced:
                position, key = self._replaced.pop((place.stream, line.version))
                self._findings.replace(key, Kind.INSERTED, position, _PUT_IN)
            self._version(line.position, place.stream, line.version)
            if self._ends is not None and self.shown is not None:
                self._toward_end(line, place.stream, self._ends, self.shown)
        else:
            self._unsound(line, place.replaced)

    def _toward_end(self, line: EventLine, stream: str, ends: StreamEnds, shown: ShownEnd) -> None:
        if line.position <= ends.as_of:
            self._by_then[stream] = line.version, line.position
        elif line.position > ends.event_position:
            shown.reach(ends.event_position, ends.recorded_at_us)
        shown.reach(line.position, line.recorded_at_us)

    def finish(self) -> None:
        """Find what is missing at the end, and the streams whose client is not shown."""
        if not self._range:
            self._finish_streams()
        elif self._next <= self._last:
            message = f"positions {self._next} to {self._last} were asked for and are missing"
            self._findings.add(Kind.TRUNCATED, self._next, message, self._last)
        elif self._first > self._size:
            message = f"the checkpoint covers positions 1 to {self._size}, and so nothing of what was asked for"
            self._findings.add(Kind.TRUNCATED, self._first, message, self._selection.last_position)
        self._check_excluded()

    def _finish_streams(self) -> None:
        """Find missing streams and clients, unless other contents are wrong: then these would follow from them."""
        add = self._findings.add
        for position in self._window.beyond.values():
            add(Kind.INSERTED, position, "took place after the time that was asked for")
        if self._unknown or self._findings.any(*CONTENTS - {Kind.CLIENT_MISMATCH}):
            return
        if not self._versions or (self._selection.until_us and not self.within.count):
            add(Kind.DELETED, 0, f"not one event of {self._selection.words()[:200]!a}")
        for stream, position in self._unshown.items():
            message = f"no event of {stream[:100]!a} shows a client_id, and so not that it is of the client asked for"
            add(Kind.CLIENT_MISMATCH, position, message)
        selection = self._selection
        if selection.client is not None and not selection.until_us:
            for name in self._one.unlinked(selection.client, selection.also):
                message = f"no event here says that {name[:100]!a} is an identifier of the client asked for"
                add(Kind.CLIENT_MISMATCH, 0, message)
        if self._ends is not None and self.shown is not None and not self._findings.any(*CONTENTS):
            self.shown.reach(self._ends.event_position, self._ends.recorded_at_us)
            self._compare_ends(self._ends)

    def _compare_ends(self, ends: StreamEnds) -> None:
        """Compare the bundle's streams with those that the ledger recorded, as of its position."""
        add, here = self._findings.add, self._by_then
        for stream, version in ends.streams.items():
            last, position = here.get(stream, (0, 0))
            if last < version:
                message = f"{stream[:100]!a} had {version} events by position {ends.as_of}, and here are {last}"
                add(Kind.TRUNCATED if last else Kind.DELETED, position, message)
        for stream, (last, _) in here.items():
            version = ends.streams.get(stream, 0)
            if last > version:
                message = (
                    f"the ledger recorded that {stream[:100]!a} had {version} events by position {ends.as_of}, and the"
                    f" log has {last}: the record is false"
                )
                add(Kind.HEADS_MISMATCH, ends.event_position, message)

    def _check_excluded(self) -> None:
        """Check that the manifest excludes exactly what the checkpoint does not cover."""
        count, first = self._excluded
        if self._range:
            wanted = self._selection.uncovered(self._size)
            sound = self._excluded == wanted
            if not any(self._excluded) and not sound:
                last = self._selection.last_position
                message = f"positions {wanted[1]} to {last} were asked for, and the manifest does not exclude them"
                self._findings.add(Kind.TRUNCATED, wanted[1], message, last)
                return
        else:
            sound = first > self._size if count else not first
        if not sound:
            message = f"the manifest excludes {count} events from {first} on; the checkpoint has size {self._size}"
            self._findings.add(Kind.SUMMARY_MISMATCH, 0, message)

    def _position(self, position: int) -> None:
        """Add an event of a range, genuine or not."""
        if not self._first <= position <= self._last:
            self._findings.add(Kind.INSERTED, position, f"positions {self._first} to {self._last} were asked for")
            return
        if position > self._next:
            gap = _Gap("", self._next, position - 1, 0)
            subject = f"event {gap.first} is" if gap.first == gap.last else f"events {gap.first} to {gap.last} are"
            gap.key = self._findings.add(Kind.DELETED, gap.first, f"{subject} missing", gap.last)
            self._remember(gap)
        self._next = max(self._next, position + 1)

    def _of_selection(self, line: EventLine, stream: str, event_type: str) -> None:
        """Check that the event belongs to the request or client that was asked for."""
        if self._selection.until_us and self._window.add(line, stream):
            return
        if self._stream is not None:
            if stream != self._stream:
                message = f"an event of {stream[:100]!a}, where {self._stream} was asked for"
                self._findings.add(Kind.CLIENT_MISMATCH, line.position, message)
            return
        if self._selection.also:
            self._one.add(stream, event_type, line.body)
        if CLIENT_MEMBER in line.fields and self._shows_client(line, stream, event_type):
            self._unshown.pop(stream, None)
        elif self._selection.client is not None and stream not in self._versions:
            self._unshown[stream] = line.position

    def _shows_client(self, line: EventLine, stream: str, event_type: str) -> bool:
        """Return True if the event discloses a client_id. One of another client is a finding."""
        try:
            client = orjson.loads(line.fields)["client_id"]
        except (ValueError, LookupError, TypeError):  # it has none, or step 9 reports what is wrong
            return False
        if not self._names:
            self._names = (client,)
        if client in self._names:
            if self._selection.also:
                self._one.name(stream, client)
        else:
            than = "an event before it" if self._selection.client is None else "was asked for"
            message = f"a {event_type[:100]!a} of another client than {than}"
            self._findings.add(Kind.CLIENT_MISMATCH, line.position, message)
        return True

    def _unsound(self, line: EventLine, replaced: int | None) -> None:
        """Add an event that the transparency log does not have there. It still fills a place in its stream."""
        stream = _stream_of(line.body)
        if stream is None:
            self._unknown += 1
            return
        if replaced is not None:
            if line.version <= self._versions.get(stream, 0):
                self._findings.replace(replaced, Kind.INSERTED, line.position, _PUT_IN)
            if not self._findings.full:
                self._replaced[stream, line.version] = line.position, replaced
        if (stream, line.version) not in self._replaced:
            self._version(line.position, stream, line.version, sure=False)

    def _stray(self, line: EventLine) -> None:
        """Add an event out of order: it fills the gap that was found before."""
        stream = "" if self._range else _stream_of(line.body)
        number = line.position if self._range else line.version
        for gap in self._gaps:
            if gap.stream == stream and gap.first <= number <= gap.last:
                self._findings.drop(gap.key)
                self._gaps.remove(gap)
                return

    def _version(self, position: int, stream: str, version: int, *, sure: bool = True) -> None:
        last = self._versions.get(stream, 0)
        if not last and len(self._versions) >= MAX_STREAMS:
            raise BundleError(BundleFlaw.STREAMS, f"more than {MAX_STREAMS}")
        expected = self._after(stream, last)
        if version == expected:
            self._versions[stream] = version
        elif not sure:
            self._unknown += 1
        elif version <= last:
            message = f"version {version} of {stream[:100]!a} comes after version {last}"
            self._findings.add(Kind.REORDERED, position, message)
        else:
            self._versions[stream] = version
            if self._unknown:
                self._unknown -= 1
                return
            gap = _Gap(stream, expected, version - 1, 0)
            subject = f"version {gap.first} is" if gap.first == gap.last else f"versions {gap.first} to {gap.last} are"
            message = f"{subject} missing of {stream[:100]!a} before this event"
            gap.key = self._findings.add(Kind.DELETED, position, message)
            self._remember(gap)

    def _remember(self, gap: _Gap) -> None:
        if not self._findings.full:
            self._gaps.append(gap)

    def _after(self, stream: str, last: int) -> int:
        """Return the next version that no replaced event has."""
        while (stream, last + 1) in self._replaced:
            last += 1
        return last + 1


def _stream_of(body: bytes) -> str | None:
    """Return the stream that a body names; None if it cannot be read."""
    try:
        stream = orjson.loads(body)["stream"]
    except (ValueError, LookupError, TypeError):
        return None
    return stream if type(stream) is str else None
