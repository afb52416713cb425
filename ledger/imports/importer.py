"""Record a checked history in batches. Each batch is recorded completely or not at all.

What an imported event says of its history is in `backfill`; its id follows from the history. So a second run knows what
is recorded, whatever ended the first one, and goes on after it.

A batch is one transaction. It first takes the lock under which positions are given out; until the end of the
transaction nobody else appends. So the positions and numbers of the batch are known before it is encoded, and
members that name an event of the same batch have its position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from ledger.database import Connection, replicated
from ledger.errors import Refused, VersionConflict, from_database
from ledger.imports.encode import line_of
from ledger.imports.history import CLIENT, CONTENT, FIRST, REQUEST, BadLine, HistoryEvent, derived_id
from ledger.imports.references import Places, renamed
from ledger.store.envelope import Actor, Line, NewEvent, encode
from ledger.store.events import APPEND, parameters, receipts
from ledger.store.recorder import Recorder
from schema.events import HistoryImported
from schema.findings import FINDING_EVENTS

HERE = Path(__file__).parent
FOUND, REGISTERED, ERASED, NUMBERS = (
    (HERE / f"{name}.sql").read_bytes() for name in ("found", "registered", "erased", "numbers")
)
# Each import has a stream of its own in this category.
IMPORTS = "import-"
LOCK = b"SELECT check_append(false)"
HEAD = b"SELECT position FROM head"
MOST_EVENTS = 1000
MOST_BYTES = 16 * 1024 * 1024
# For a client that was known here before, holds and findings are imported. Assignments are not, because this ledger
# knows them better.
OF_KNOWN_CLIENTS = frozenset({"legal-hold.placed", "legal-hold.released", *(kind.type for kind in FINDING_EVENTS)})
KNOWN_HERE = "of a client that is known here"
ERASED_HERE = "of a client that was erased here"


class StreamMovedOn(Refused):
    """Others have recorded events in a stream between two parts of its history."""

    def __init__(self, reason: str) -> None:
        super().__init__("stream-moved-on", reason)


class NotImported(Refused):
    """An event names another event that was left out, because its client was erased or is known here."""

    def __init__(self, event: HistoryEvent, field: str) -> None:
        reason = f"{event.file}, line {event.line}: {field}: Input should name what is imported, but that was left out"
        super().__init__("not-imported", reason)


@dataclass
class Imported:
    """Report the result of an import. `left_out` counts events by the reason for which they are not recorded."""

    recorded: int = 0
    already: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass
class _Stream:
    """A stream of the history in this ledger: its name here, and the version at which the import left it.

    `version` is None for streams in which others may record as well. `known`: its client was registered by others.
    """

    name: str
    version: int | None = 0
    known: bool = False
    erased: bool = False


@dataclass
class Importer:
    """Import one history. `writer` and `reader` are connections in these roles, in autocommit mode.

    `erased` are streams whose values the history has erased: they are left out.
    """

    writer: Connection
    reader: Connection
    source: str
    actor: Actor
    erased: AbstractSet[str] = frozenset()
    recorder: Recorder | None = None
    batch_events: int = MOST_EVENTS
    places: Places = field(default_factory=Places)
    streams: dict[str, _Stream] = field(default_factory=dict)
    imported: Imported = field(default_factory=Imported)

    def run(self, history: Iterable[HistoryEvent], on_progress: Callable[[int], None] = lambda _done: None) -> Imported:
        """Record the events that are not on record yet. Raises the errors of ledger.errors; earlier batches stay."""
        done = 0
        for batch in ahead(batches(history, self.batch_events)):
            taken = [event for event in batch if event.is_imported and event.stream not in self.erased]
            if taken:
                self._record(taken)
            done += len(batch)
            on_progress(done)
        return self.imported

    def conclude(self, event: HistoryImported) -> None:
        """Record that the history of these files is imported, unless that is on record. Raises errors as `run` does."""
        files = "\n".join(f"{one.name} {one.sha256}" for one in event.files)
        id_ = derived_id(self.source, f"history.imported\n{files}")
        line = encode(NewEvent(id_, IMPORTS, event, self.actor))
        try:
            with replicated(self.writer), self.writer.transaction():
                self.writer.execute(LOCK, prepare=True)
                if not self.reader.execute(FOUND, {"ids": [id_]}, prepare=True).fetchall():
                    self.writer.cursor(binary=True).execute(APPEND, parameters([line], recorder=self.recorder))
        except psycopg.Error as error:
            raise from_database(error) or error from error

    def _record(self, events: list[HistoryEvent]) -> None:
        try:
            while events:
                with replicated(self.writer), self.writer.transaction():
                    # Nobody else appends until the end of the transaction.
                    self.writer.execute(LOCK, prepare=True)
                    events = events[_Batch(self, events).record() :]
        except psycopg.Error as error:
            known = from_database(error)
            if isinstance(known, VersionConflict):
                stream = known.detail.get("stream")
                raise StreamMovedOn(f"others have recorded events in {stream} since it was imported") from error
            raise known or error from error


class _Batch:
    """Collect events that are recorded together."""

    def __init__(self, importer: Importer, events: list[HistoryEvent]) -> None:
        self._of = importer
        self._events = events
        self._lines: list[Line] = []
        self._expected: list[tuple[int, str]] = []
        source = importer.source
        self._ids = [derived_id(source, event.id) for event in events]
        [(self._position,)] = self._rows(HEAD)
        self._found = {id_: (position, stream) for id_, position, stream in self._rows(FOUND, ids=self._ids)}
        begun = {event.category for event in events if event.type in FIRST.get(event.category, ())}
        numbers = self._rows(NUMBERS, categories=sorted(begun))
        self._last: dict[str, int] = {category: last for category, last, _ in numbers}
        # The categories in which append() must give out the first number, so that it continues from there.
        self._unnumbered = {category for category, _, given in numbers if not given}
        names = [name for event in events if (name := _identifier(event)) is not None]
        self._registered: dict[str, str] = dict(self._rows(REGISTERED, names=names)) if names else {}
        known = [*(stream for _, stream in self._found.values()), *self._registered.values()]
        self._erased = {stream for (stream,) in self._rows(ERASED, streams=known)} if known else set[str]()

    def record(self) -> int:
        """Append what is not recorded yet; return the number of events that are done: the history may have more."""
        done = 0
        for event, id_ in zip(self._events, self._ids, strict=True):
            done += 1
            if id_ in self._found:
                self._pass(event, *self._found[id_])
            elif self._add(event, id_):
                break
        if self._lines:
            parameters_ = parameters(self._lines, recorder=self._of.recorder)
            row = self._of.writer.cursor(binary=True).execute(APPEND, parameters_, prepare=True)
            got = receipts(self._lines, row.fetchone())
            assert [(one.position, one.stream) for one in got] == self._expected
            self._of.imported.recorded += len(got)
        return done

    def _pass(self, event: HistoryEvent, position: int, name: str) -> None:
        """Note an event that is already recorded."""
        stream = self._of.streams.get(event.stream)
        if stream is None:
            version = 0 if event.category == REQUEST else None
            stream = self._enter(event, _Stream(name, version, erased=name in self._erased))
        self._of.places.add(event.position, position)
        if stream.version is not None:
            stream.version += 1
        self._of.imported.already += 1

    def _add(self, event: HistoryEvent, id_: UUID) -> bool:
        """Add a line; return True if the batch must end with it."""
        stream = self._of.streams.get(event.stream)
        begins = stream is None
        if stream is None:
            stream = self._enter(event, self._begun(event))
        if stream.erased or (stream.known and event.type not in OF_KNOWN_CLIENTS):
            self._of.imported.left_out[ERASED_HERE if stream.erased else KNOWN_HERE] += 1
            return False
        self._position += 1
        # append() gives out a number if the stream's name has none. In a batch, such a stream has one event.
        gives = begins and event.category in self._unnumbered
        target = event.category if gives else stream.name
        expected = "no_stream" if begins and event.category in FIRST else "any"
        if not begins and stream.version is not None:
            expected = str(stream.version)
        try:
            data = renamed(event, self._of.places.find)
        except BadLine as error:
            raise NotImported(event, error.field) from error
        self._lines.append(line_of(event, id_, self._of.source, self._of.actor, data, target, expected))
        self._expected.append((self._position, stream.name))
        self._of.places.add(event.position, self._position)
        if stream.version is not None:
            stream.version += 1
        return gives

    def _begun(self, event: HistoryEvent) -> _Stream:
        """Return the stream of this ledger for one that begins in the history."""
        if event.category == CONTENT:
            return _Stream(f"{CONTENT}{derived_id(self._of.source, event.stream.removeprefix(CONTENT))}", None)
        if event.category not in FIRST:
            return _Stream(event.stream, None)
        name = self._registered.get(_identifier(event) or "") if event.category == CLIENT else None
        if name is not None:
            return _Stream(name, None, known=True, erased=name in self._erased)
        client = self._of.streams.get(f"{CLIENT}{event.data.get('client')}")
        if client is not None and client.erased:
            return _Stream(event.stream, erased=True)
        self._last[event.category] += 1
        # Assignments of a client may be recorded at any time.
        return _Stream(f"{event.category}{self._last[event.category]}", 0 if event.category == REQUEST else None)

    def _enter(self, event: HistoryEvent, stream: _Stream) -> _Stream:
        self._of.streams[event.stream] = stream
        if event.category in FIRST and not stream.erased:
            self._of.places.streams[event.stream] = stream.name
        return stream

    def _rows(self, query: bytes, **given: Any) -> list[Any]:
        return self._of.reader.execute(query, given or None, prepare=True).fetchall()


def _identifier(event: HistoryEvent) -> str | None:
    """Return the identifier that an event registers."""
    return event.values.get("client_id") if event.type in FIRST[CLIENT] else None


def batches(history: Iterable[HistoryEvent], most: int) -> Iterator[list[HistoryEvent]]:
    """Yield the events in batches that one append can take."""
    batch: list[HistoryEvent] = []
    size = 0
    for event in history:
        batch.append(event)
        size += event.size
        if len(batch) == most or size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def ahead(found: Iterator[list[HistoryEvent]]) -> Iterator[list[HistoryEvent]]:
    """Yield the same batches, and read the next one in a thread while the database works."""
    with ThreadPoolExecutor(1, "read-history") as pool:
        following = pool.submit(next, found, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, found, None)
            yield batch
