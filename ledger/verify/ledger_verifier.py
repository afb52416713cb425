"""Verify a ledger's chain and the tables beside the events: steps 6, 7 and 9 of docs/formats/event.md, section 5.

Versions must be contiguous in every stream. A version for each stream would take memory without bound, so sums of a
keyed hash F are compared:

    events   F(stream, version) over all events
    befores  F(stream, version - 1) over all events but those of version 1
    ends     F(stream, last version) over all streams, from a list of the streams

In a contiguous stream each event but the last is the one before another, so events = befores + ends. Where the sums
agree, there is one event of each version from the last down to 1, and no other. The key is drawn for each run; without
it, nobody makes sums of other sets agree but by a chance of 2^-64 (an additive multiset hash).
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from pathlib import Path

import orjson

from ledger.database import Connection
from ledger.proof.chain.verifier import ChainVerifier
from ledger.proof.findings import CHANGES, Kind
from ledger.proof.format.events import EventRow, Head
from ledger.store.copy import VerifiedRow, columns, copy_rows, event, number, stream_end, text
from ledger.verify.report import ChainReport

HERE = Path(__file__).parent
STREAMS, ODD_VERSIONS, STRAYS, EMPTY_STREAMS, STRAY_CLIENTS, SESSION = (
    (HERE / f"{name}.sql").read_bytes()
    for name in ("streams", "odd_versions", "strays", "empty_streams", "stray_clients", "session")
)
NUMBERS = "SELECT category, last FROM stream_numbers ORDER BY category LIMIT 10000"
# Parameters of SESSION: whether the planner takes indexes or tables.
BY_INDEX = {"by_index": "on", "by_table": "off"}
BY_TABLE = {"by_index": "off", "by_table": "on"}
CLIENT_MEMBER = b'"client_id":'
SEALED_MEMBER = b'"sealed":{'
NO_CLIENT = "the index of clients has a client for {!r}, and no event of this stream names one"

# Position, stream, version; the version before it in the stream, and the position of that: 0 for the first of a stream.
OddVersion = tuple[int, str, int, int, int]


class StreamVersions:
    """The sum events - befores. F is Python's hash of a string, SipHash, with a key of our own."""

    def __init__(self) -> None:
        self._key = secrets.token_hex(16)
        self._sum = 0

    def add(self, stream: str, version: int) -> None:
        """Add an event."""
        key = self._key
        self._sum += hash(f"{key}{version} {stream}")
        if version > 1:
            self._sum -= hash(f"{key}{version - 1} {stream}")

    def contiguous(self, ends: Iterable[tuple[str, int]], highest: dict[str, int]) -> bool:
        """True if all versions are contiguous, given each stream and its last version.

        Updates `highest` with the highest number of a stream, for each category that it has.
        """
        key, total, possible = self._key, 0, True
        for stream, last in ends:
            total += hash(f"{key}{last} {stream}")
            possible = possible and last > 0
            category, number = _split(stream)
            if highest.get(category, number) < number:
                highest[category] = number
        return possible and total == self._sum


def _split(stream: str) -> tuple[str, int]:
    """Category and number of a stream's name, as in "request-" and 7; number 0 if it has none."""
    head, hyphen, digits = stream.rpartition("-")
    proper = digits.isascii() and digits.isdecimal() and len(digits) < 19 and digits[0] != "0"
    return head + hyphen, int(digits) if proper else 0


class LedgerVerifier(ChainVerifier):
    """`verify` the events, then `check_tables`, which looks for causes in earlier findings; then `report`."""

    def __init__(self, head: Head | None, erased_at: Container[int] = frozenset()) -> None:
        """Take the positions whose sealed values an event says were erased. No type of event says so yet."""
        super().__init__(head)
        self._streams = StreamVersions()
        self._erased_at = erased_at
        # Positions of the first events of streams that have a client which this event does not commit to. Only streams
        # of traces may be here in a sound ledger: a later call names the client.
        self._first_without_client = array("q")

    def verify(self, conn: Connection, statement: bytes) -> Iterator[VerifiedRow]:
        """Verify the next events, rows of events.sql or slice.sql: steps 1 to 5, 7, and of 9 the client. Yield each."""
        for data in copy_rows(conn, statement):
            found = event(data)
            row, client, _ = found
            self.take(row)
            if row.fields is not None and CLIENT_MEMBER in row.fields and not _same_client(row.fields, client):
                self._check_client(row, known=client is not None)
            if row.version == 1 and client is not None and not _commits_to_client(row.body):
                self._first_without_client.append(row.position)
            yield found

    def take(self, row: EventRow) -> None:
        """Verify the next event without the tables beside it."""
        self._streams.add(row.stream, row.version)
        super().take(row)

    def _miss(self, position: int, names: Collection[str]) -> None:
        """Step 7: values are gone. That is an erasure if an event says so."""
        if position in self._erased_at:
            super()._miss(position, names)
        else:
            message = (
                f"the sealed values are gone ({', '.join(sorted(names))}), and no event says that they were erased"
            )
            self._note(Kind.SEALED_MISSING, position, message)

    def _check_client(self, row: EventRow, *, known: bool) -> None:
        """Step 9: the index of clients has another client, or none, for a stream. None if the event is in doubt."""
        if row.position == self._opened_at != self._disagreed_at:
            message = f"the index of clients has {'another client' if known else 'no client'} for {row.stream!r}"
            self._note(Kind.CLIENT_MISMATCH, row.position, message)

    def check_tables(self, conn: Connection) -> None:
        """Steps 6, 8 and 9, once all events were verified: in the same snapshot, with the settings of BY_INDEX."""
        self.finish()
        # Each of these is read when it is iterated: one at a time on this connection.
        ends = map(stream_end, copy_rows(conn, STREAMS))
        strays = (number(*columns(row)) for row in copy_rows(conn, STRAYS))
        odd_versions = (_odd_version(row) for row in copy_rows(conn, ODD_VERSIONS))
        numbers = {str(category): int(last) for category, last in conn.execute(NUMBERS)}
        contiguous = self.check_streams(ends, numbers)
        self.check_strays(strays)
        self._check_stray_clients(conn)
        if not contiguous:
            conn.execute(SESSION, BY_TABLE)
            self.report_versions(odd_versions)

    def check_streams(self, ends: Iterable[tuple[str, int]], numbers: Mapping[str, int]) -> bool:
        """Step 6, from each stream and its last version; and, of step 9, the last `numbers` given out, by category.

        If it returns False, give `report_versions` the versions that are not contiguous.
        """
        highest = dict.fromkeys(numbers, 0)
        contiguous = self._streams.contiguous(ends, highest)
        lost = self.findings.any(Kind.DELETED, Kind.TRUNCATED)
        for category, last in numbers.items():
            # More numbers than streams: streams are gone, as other findings say. Fewer: the number was set.
            if last < highest[category] or (last > highest[category] and not lost):
                message = f"the last number of {category!r} is {last}; the highest in use is {highest[category]}"
                self.findings.add(Kind.NUMBER_MISMATCH, 0, message)
        return contiguous

    def report_versions(self, odd: Iterable[OddVersion]) -> None:
        """Step 6: name the versions that do not follow the one before, unless lost or changed events explain them."""
        named = False
        for position, stream, version, before, before_at in odd:
            named = True
            if not self.findings.explain(min(before_at, position), max(before_at, position)):
                message = f"version {version} of stream {stream!r} follows {before}"
                if position <= before_at:
                    message += f", which is at the later position {before_at}"
                self.findings.add(Kind.VERSION_GAP, position, message)
        if not named:
            message = "ordered by stream, the table gives other events than ordered by position: rebuild its indexes"
            self.findings.add(Kind.INDEX_MISMATCH, 0, message)

    def check_strays(self, positions: Iterable[int]) -> None:
        """Step 7: sealed values at these positions have no event, unless other findings explain that."""
        for position in positions:
            if not self._chain.shift and not self.findings.rewritten(position):
                self.findings.add(Kind.STRAY_SEALED, position, "sealed values stand here, but no event does")

    def _check_stray_clients(self, conn: Connection) -> None:
        """Step 9: the index of clients has streams whose events name no client, unless events were changed."""
        if self._chain.shift or self.findings.any(*CHANGES):
            return
        for row in copy_rows(conn, EMPTY_STREAMS):
            self.findings.add(Kind.CLIENT_MISMATCH, 0, NO_CLIENT.format(text(columns(row)[0])))
        for position, stream in conn.execute(STRAY_CLIENTS, [list(self._first_without_client)]):
            self.findings.add(Kind.CLIENT_MISMATCH, position, NO_CLIENT.format(stream))

    def report(self) -> ChainReport:
        """The findings so far, and how much was verified."""
        last = self._chain.last
        return ChainReport(
            origin=None if self._head is None else self._head.origin,
            events=self._events,
            first_position=0 if last is None else self._chain.first,
            last_position=0 if last is None else last.position,
            head_hash=None if last is None else last.hash,
            opened=self._opened,
            erased=self._erased,
            findings=self.findings.in_order(),
            more=self.findings.more,
        )


def _same_client(fields: bytes, client: bytes | None) -> bool:
    """True if the sealed client_id, if there is one, is `client`."""
    if client is not None and fields == b'{"client_id":"%b"}' % client:
        return True
    try:
        sealed = orjson.loads(fields)["client_id"]
    except (ValueError, LookupError, TypeError):  # Step 7 says what is wrong with them.
        return True
    return client is not None and sealed == text(client)


def _commits_to_client(body: bytes) -> bool:
    """True if the body, in canonical form, has a commitment to a client."""
    begins = body.find(SEALED_MEMBER)
    return begins >= 0 and body.find(CLIENT_MEMBER, begins, body.find(b"}", begins)) >= 0


def _odd_version(row: bytes) -> OddVersion:
    position, stream, version, before, before_at = columns(row)
    return number(position), text(stream), number(version), number(before), number(before_at)
