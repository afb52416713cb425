"""Whether a bundle has what was asked for, all and nothing else: step 10 of docs/formats/bundle.md, section 7.

Of a range, every position. Of streams, versions 1, 2, 3… of each, and of a client's that each discloses its client_id;
that a stream has no later event, and a client no other stream, no bundle of streams can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from ledger.proof.bundle.findings import CONTENTS, Problems, Wrong
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.zip import BundleError, BundleFlaw

MAX_STREAMS = 1_000_000
CLIENT = b'"client_id":'


class Found(Protocol):
    """What is needed of a line."""

    @property
    def version(self) -> int:
        """Of the stream."""

    @property
    def body(self) -> bytes:
        """Canonical JSON, or not."""


@dataclass(slots=True)
class _Gap:
    """Missing positions or versions, `first` to `last`, of a stream or of the range."""

    stream: str
    first: int
    last: int
    key: int


class Completeness:
    """Told of each event in order; `finish` says what is missing at the end."""

    def __init__(self, manifest: Manifest, problems: Problems) -> None:
        selection = self._selection = manifest.selection
        self._problems = problems
        self._size = manifest.checkpoint_size
        self._excluded = manifest.excluded, manifest.excluded_from
        self._range = selection.kind == "positions"
        # The client_id that each stream has to show. Where the manifest names none, the first that is disclosed, which
        # others then have to be.
        self._client: Any = selection.client
        self._named = selection.client is not None
        # Streams of which no event disclosed a client_id yet, and where they begin.
        self._unshown: dict[str, int] = {}
        self._stream = f"request-{selection.request}" if selection.kind == "request" else None
        self._first = selection.first_position
        # What the checkpoint does not cover was never here.
        self._last = min(selection.last_position, manifest.checkpoint_size)
        self._next = self._first
        self._versions: dict[str, int] = {}
        self._gaps: list[_Gap] = []
        self._replaced: dict[tuple[str, int], tuple[int, int]] = {}
        # Events whose stream nobody knows: what is missing may be they.
        self._unknown = 0

    @property
    def positions_only(self) -> bool:
        """Whether a range was asked for, so that streams do not matter."""
        return self._range

    @property
    def streams(self) -> int:
        """How many there are in a bundle of streams."""
        return len(self._versions)

    def event(self, position: int, stream: str, version: int, kind: str, fields: bytes) -> None:
        """An event that the log has at this position."""
        if self._range:
            if position == self._next <= self._last:
                self._next = position + 1
            else:
                self._position(position)
            return
        if self._stream is not None:
            if stream != self._stream:
                message = f"an event of {stream[:100]!a}, where {self._stream} was asked for"
                self._problems.add(Wrong.CLIENT_MISMATCH, position, message)
        elif CLIENT in fields and self._shows_client(position, kind, fields):
            if self._unshown:
                self._unshown.pop(stream, None)
        elif self._named and stream not in self._versions:
            self._unshown[stream] = position
        if (stream, version) in self._replaced:
            self._was_inserted(stream, version)
        self._version(position, stream, version)

    def stretch(self, first: int, count: int) -> None:
        """Events that the log has at consecutive positions, in a bundle of a range."""
        if first == self._next and first + count - 1 <= self._last:
            self._next = first + count
        else:
            for position in range(first, first + count):
                self._position(position)

    def unsound(self, position: int, line: Found) -> None:
        """An event that is not what the log has there; it still fills a place, in its stream if it says in which."""
        if self._range:
            self._position(position)
            return
        stream = _stream_of(line.body)
        if stream is None:
            self._unknown += 1
        elif (stream, line.version) not in self._replaced:
            self._version(position, stream, line.version, sure=False)

    def replaced(self, position: int, line: Found, key: int) -> None:
        """An event that the log does not have there, sound by itself: edited, unless its version is another's."""
        stream = _stream_of(line.body)
        if stream is None or self._range:
            return
        if line.version <= self._versions.get(stream, 0):
            self._problems.replace(key, Wrong.INSERTED, position, _PUT_IN)
        if not self._problems.full:
            self._replaced[stream, line.version] = position, key

    def stray(self, position: int, line: Found) -> None:
        """An event out of order: a gap that it would have filled is none."""
        stream = "" if self._range else _stream_of(line.body)
        number = position if self._range else line.version
        for gap in self._gaps:
            if gap.stream == stream and gap.first <= number <= gap.last:
                self._problems.drop(gap.key)
                self._gaps.remove(gap)
                return

    def finish(self) -> None:
        """What is missing at the end, as far as that can be known, and of which streams nobody knows the client."""
        if not self._range:
            self._finish_streams()
        elif self._next <= self._last:
            what = f"positions {self._next} to {self._last} were asked for and are missing"
            self._problems.add(Wrong.TRUNCATED, self._next, what, self._last)
        elif self._first > self._size:
            what = f"the checkpoint covers positions 1 to {self._size}, and so nothing of what was asked for"
            self._problems.add(Wrong.TRUNCATED, self._first, what, self._selection.last_position)
        self._check_excluded()

    def _finish_streams(self) -> None:
        """Streams without an event, or of nobody. Where other contents are wrong, that would follow from them."""
        add = self._problems.add
        if self._unknown or self._problems.any(*CONTENTS - {Wrong.CLIENT_MISMATCH}):
            return
        if not self._versions:
            add(Wrong.DELETED, 0, f"not one event of {self._selection.words()[:100]!a}")
        for stream, position in self._unshown.items():
            message = f"no event of {stream[:100]!a} shows a client_id, and so not that it is of the client asked for"
            add(Wrong.CLIENT_MISMATCH, position, message)

    def _check_excluded(self) -> None:
        """What was left out, by the manifest, is what the checkpoint does not cover."""
        count, first = self._excluded
        if self._range:
            wanted = self._selection.uncovered(self._size)
            sound = self._excluded == wanted
            if not any(self._excluded) and not sound:
                last = self._selection.last_position
                what = f"positions {wanted[1]} to {last} were asked for, and are not said to be left out"
                self._problems.add(Wrong.TRUNCATED, wanted[1], what, last)
                return
        else:
            sound = first > self._size if count else not first
        if not sound:
            what = f"{count} events from {first} on are said to be left out, and the checkpoint is of size {self._size}"
            self._problems.add(Wrong.SUMMARY_MISMATCH, 0, what)

    def _position(self, position: int) -> None:
        if not self._first <= position <= self._last:
            self._problems.add(Wrong.INSERTED, position, f"positions {self._first} to {self._last} were asked for")
            return
        if position > self._next:
            what = (
                f"event {self._next} is" if position == self._next + 1 else f"events {self._next} to {position - 1} are"
            )
            key = self._problems.add(Wrong.DELETED, self._next, f"{what} missing", position - 1)
            self._note(_Gap("", self._next, position - 1, key))
        self._next = max(self._next, position + 1)

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
            self._problems.add(Wrong.REORDERED, position, message)
        else:
            self._versions[stream] = version
            if self._unknown:
                self._unknown -= 1
                return
            what = f"version {expected} is" if version == expected + 1 else f"versions {expected} to {version - 1} are"
            key = self._problems.add(Wrong.DELETED, position, f"{what} missing of {stream[:100]!a} before this event")
            self._note(_Gap(stream, expected, version - 1, key))

    def _after(self, stream: str, last: int) -> int:
        """The next version that is not one of an event that was replaced."""
        while (stream, last + 1) in self._replaced:
            last += 1
        return last + 1

    def _was_inserted(self, stream: str, version: int) -> None:
        position, key = self._replaced.pop((stream, version))
        self._problems.replace(key, Wrong.INSERTED, position, _PUT_IN)

    def _note(self, gap: _Gap) -> None:
        if not self._problems.full:
            self._gaps.append(gap)

    def _shows_client(self, position: int, kind: str, fields: bytes) -> bool:
        """Whether there is a client_id at all; one of another client is named."""
        try:
            found = orjson.loads(fields)["client_id"]
        except (ValueError, LookupError, TypeError):  # none, or step 9 says what is wrong
            return False
        if self._client is None:
            self._client = found
        elif found != self._client:
            than = "was asked for" if self._named else "an event before it"
            message = f"a {kind[:100]!a} of another client than {than}"
            self._problems.add(Wrong.CLIENT_MISMATCH, position, message)
        return True


_PUT_IN = "put in: the log has another event here, and another event has this version of the stream"


def _stream_of(body: bytes) -> str | None:
    """What a body says of its stream, as far as it can be read."""
    try:
        found: Any = orjson.loads(body)
        stream = found["stream"]
    except (ValueError, LookupError, TypeError):
        return None
    return stream if type(stream) is str else None
