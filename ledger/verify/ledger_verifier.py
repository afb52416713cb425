"""Verify a ledger's chain and the tables beside the events: steps 6, 7 and 9 of docs/formats/event.md, section 5."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson
from psycopg import sql

from ledger.database import Connection
from ledger.proof.acts.checker import ActsChecker, KeyEvent
from ledger.proof.chain.verifier import ChainVerifier
from ledger.proof.findings import CHANGES, Kind
from ledger.proof.format.events import EventRow, Head
from ledger.proof.recording.attestation import Fault
from ledger.store.copy import VerifiedRow, columns, copy_rows, event, number, stream_end, text
from ledger.verify.erasures import Erasures, other_than_said, read_erasures
from ledger.verify.report import ChainReport
from ledger.verify.stream_versions import StreamVersions
from ledger.verify.verified_part import Part, Unsigned

HERE = Path(__file__).parent
STREAMS, ODD_VERSIONS, STRAYS, EMPTY_STREAMS, STRAY_CLIENTS, SESSION = (
    (HERE / f"{name}.sql").read_bytes()
    for name in ("streams", "odd_versions", "strays", "empty_streams", "stray_clients", "session")
)
EVENTS, SLICE, NEW_VERSIONS = (
    sql.SQL((HERE / f"{name}.sql").read_text("utf-8")) for name in ("events", "slice", "new_versions")
)
NUMBERS = "SELECT category, last FROM stream_numbers ORDER BY category LIMIT 10000"
# Parameters of SESSION: make the planner read by index, or by table.
BY_INDEX = {"by_index": "on", "by_table": "off"}
BY_TABLE = {"by_index": "off", "by_table": "on"}
CLIENT_MEMBER = b'"client_id":'
SEALED_MEMBER = b'"sealed":{'
NO_CLIENT = "the index of clients has a client for {!r}, and no event of this stream names one"

# Position, stream, version; the version and position of the event before it in the stream: 0 for the first.
OddVersion = tuple[int, str, int, int, int]


def between(after: int | None, upto: int | None = None) -> dict[str, sql.Composable]:
    """Return the conditions of EVENTS and SLICE for the events in (after, upto], where None is no limit.

    Both tables have the limits: a merge join of the events with all sealed values reads these from the first one on,
    for each slice again.
    """
    limits = {name: value for name, value in (("> {}", after), ("<= {}", upto)) if value is not None}

    def of(table: str) -> sql.Composable:
        conditions = [
            sql.SQL("{}.position " + name).format(sql.Identifier(table), sql.Literal(value))
            for name, value in limits.items()
        ]
        return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")

    return {"part": of("e"), "sealed": of("s")}


class LedgerVerifier(ChainVerifier):
    """Verify a chain: call `verify`, then `check_tables`, which looks for causes in earlier findings, then `report`.

    The first events may come as parts that other processes verified: `take_part`.
    """

    def __init__(
        self, head: Head | None, *, versions: StreamVersions | None = None, erasures: Erasures | None = None
    ) -> None:
        super().__init__(head)
        self._streams = versions or StreamVersions()
        # The erasures that events report, and the stream of the current event.
        self._erasures = erasures or Erasures()
        self._stream = ""
        # The number of erased values, by erasure.
        self._erased_by: Counter[int] = Counter()
        # Positions of the first events of streams that have a client to which this event does not commit. In a sound
        # ledger, only streams of traces may be here: a later call names the client.
        self._first_without_client = array("q")
        # Events up to this position are not read.
        self._after = 0

    def begin(self, after: int, link: bytes, of_keys: Sequence[KeyEvent]) -> None:
        """Begin behind a position. The next event must name `link`; `of_keys` are the earlier events about keys."""
        self._after = after
        self._chain.first = self._chain.next = after + 1
        self._chain.link = link
        origin = "" if self._head is None else self._head.origin
        self.acts = ActsChecker(origin, self._note, of_keys=of_keys)

    @property
    def versions_key(self) -> bytes:
        """Return the key of the sums of versions, with which other processes can verify parts."""
        return self._streams.key

    def verify(self, conn: Connection, statement: bytes) -> Iterator[VerifiedRow]:
        """Verify and yield the next events, rows of events.sql or slice.sql: steps 1 to 5 and 7; of step 9, the
        client."""
        self._erasures = read_erasures(conn)
        for data in copy_rows(conn, statement):
            found = event(data)
            row, client, _ = found
            self.take(row)
            if row.fields is not None and CLIENT_MEMBER in row.fields and not _same_client(row.fields, client):
                self._check_client(row, known=client is not None)
            if row.version == 1 and client is not None and not _commits_to_client(row.body):
                self._first_without_client.append(row.position)
            yield found

    def take_part(self, part: Part) -> bool:
        """Continue behind a part. Return False, and change nothing, if it does not follow the events verified so far.

        The findings are the same as if its events had been verified one by one.
        """
        chain, first, last = self._chain, part.first, part.last
        follows = first.position == chain.next and first.prev_hash == chain.link
        if not follows or first.recorded_at_us < self._time_us:
            return False
        chain.before, chain.last = part.before_last or chain.last, last
        chain.next, chain.link = last.position + 1, last.hash
        if last.position == self._head_position:
            chain.at_head = last.hash
        self._time_us, self._time_of = last.recorded_at_us, last.position
        self._events += last.position - first.position + 1
        self._opened += part.opened
        self._erased_by.update(part.erased)
        self._erased += sum(part.erased.values())
        self._streams.sum += part.versions
        self._first_without_client.extend(part.without_client)
        for act in part.acts:
            if isinstance(act, Unsigned):
                act.add_to(self.acts.acts_of(act.actor))
            else:
                self.acts.take(*act)
        return True

    def take(self, row: EventRow) -> None:
        """Verify the next event without the tables beside it."""
        self._streams.add(row.stream, row.version)
        self._stream = row.stream
        super().take(row)

    def _miss(self, position: int, names: Collection[str]) -> None:
        """Step 7: handle missing values. They count as erased if an event reports their erasure."""
        erasure_id = self._erasures.covering(self._stream, position)
        if erasure_id is not None:
            self._erased_by[erasure_id] += len(names)
            super()._miss(position, names)
        else:
            message = (
                f"the sealed values are gone ({', '.join(sorted(names))}), and no event says that they were erased"
            )
            self._note(Kind.SEALED_MISSING, position, message)

    def _check_client(self, row: EventRow, *, known: bool) -> None:
        """Step 9: report a missing or wrong client in the index of clients, unless the event is in doubt."""
        if row.position == self._opened_at != self._disagreed_at:
            message = f"the index of clients has {'another client' if known else 'no client'} for {row.stream!r}"
            self._note(Kind.CLIENT_MISMATCH, row.position, message)

    def check_tables(self, conn: Connection) -> None:
        """Check steps 6, 8 and 9 after all events, in the same snapshot and with the settings of BY_INDEX.

        After `begin`, check only the events that were read; the numbers of streams are then not checked.
        """
        self.finish()
        if self._after:
            new = NEW_VERSIONS.format(after=sql.Literal(self._after)).as_bytes(conn)
            self._name_versions(_odd_version(row) for row in copy_rows(conn, new))
            self.check_strays(position for position in _strays(conn) if position > self._after)
            self._check_stray_clients(conn)
            return
        # Read these lazily, one at a time on this connection.
        ends = map(stream_end, copy_rows(conn, STREAMS))
        odd_versions = (_odd_version(row) for row in copy_rows(conn, ODD_VERSIONS))
        numbers = {str(category): int(last) for category, last in conn.execute(NUMBERS)}
        contiguous = self.check_streams(ends, numbers)
        self.check_strays(_strays(conn))
        self._check_empty_streams(conn)
        self._check_stray_clients(conn)
        self._check_erasures(conn)
        if not contiguous:
            conn.execute(SESSION, BY_TABLE)
            self.report_versions(odd_versions)

    def check_attested(self, faults: Iterable[Fault]) -> None:
        """Step 14: report faults of attestations, unless changed events explain them."""
        for fault in faults:
            if not self._chain.shift and not self.findings.explain(fault.first, fault.last):
                self.findings.add(fault.kind, fault.first, fault.message, fault.last)

    def check_streams(self, ends: Iterable[tuple[str, int]], numbers: Mapping[str, int]) -> bool:
        """Check step 6 from each stream and its last version, and the last `numbers` given out, by category (step 9).

        If this returns False, give `report_versions` the versions that are not contiguous.
        """
        highest = dict.fromkeys(numbers, 0)
        contiguous = self._streams.contiguous(ends, highest)
        lost = self.findings.any(Kind.DELETED, Kind.TRUNCATED)
        for category, last in numbers.items():
            # A number above the highest stream: streams are missing, which other findings report. A lower one was
            # changed.
            if last < highest[category] or (last > highest[category] and not lost):
                message = f"the last number of {category!r} is {last}; the highest in use is {highest[category]}"
                self.findings.add(Kind.NUMBER_MISMATCH, 0, message)
        return contiguous

    def report_versions(self, odd: Iterable[OddVersion]) -> None:
        """Step 6: name the versions that do not follow the one before, unless lost or changed events explain them."""
        if not self._name_versions(odd):
            message = "ordered by stream, the table gives other events than ordered by position: rebuild its indexes"
            self.findings.add(Kind.INDEX_MISMATCH, 0, message)

    def _name_versions(self, odd: Iterable[OddVersion]) -> bool:
        """Add the findings; return False if all versions follow."""
        named = False
        for position, stream, version, before, before_at in odd:
            named = True
            if not self.findings.explain(min(before_at, position), max(before_at, position)):
                message = f"version {version} of stream {stream!r} follows {before}"
                if position <= before_at:
                    message += f", which is at the later position {before_at}"
                self.findings.add(Kind.VERSION_GAP, position, message)
        return named

    def check_strays(self, positions: Iterable[int]) -> None:
        """Step 7: report sealed values at these positions, which have no event, unless other findings explain them."""
        for position in positions:
            if not self._chain.shift and not self.findings.rewritten(position):
                self.findings.add(Kind.STRAY_SEALED, position, "sealed values stand here, but no event does")

    def _check_empty_streams(self, conn: Connection) -> None:
        """Step 9: report streams that the index of clients has and that have no event, unless events were changed."""
        if not self._chain.shift and not self.findings.any(*CHANGES):
            for row in copy_rows(conn, EMPTY_STREAMS):
                self.findings.add(Kind.CLIENT_MISMATCH, 0, NO_CLIENT.format(text(columns(row)[0])))

    def _check_stray_clients(self, conn: Connection) -> None:
        """Step 9: report streams in the index of clients whose events name no client, unless events were changed."""
        if self._chain.shift or self.findings.any(*CHANGES):
            return
        for position, stream in conn.execute(STRAY_CLIENTS, [list(self._first_without_client)]):
            self.findings.add(Kind.CLIENT_MISMATCH, position, NO_CLIENT.format(stream))

    def _check_erasures(self, conn: Connection) -> None:
        """Steps 7 and 9: check that erased values no longer exist, unless events were changed."""
        if not self._chain.shift and not self.findings.any(*CHANGES):
            for position, message in other_than_said(conn, read_erasures(conn)):
                self.findings.add(Kind.ERASURE_MISMATCH, position, message)

    def report(self) -> ChainReport:
        """Return the findings so far, and how much was verified."""
        last = self._chain.last
        return ChainReport(
            origin=None if self._head is None else self._head.origin,
            events=self._events,
            first_position=0 if last is None else self._chain.first,
            last_position=0 if last is None else last.position,
            head_hash=None if last is None else last.hash,
            opened=self._opened,
            erased=self._erased,
            erasures=tuple(sorted(self._erased_by.items())),
            findings=self.findings.in_order(),
            more=self.findings.more,
            acts=self.acts.report,
            by_tree=self._after,
        )


def _same_client(fields: bytes, client: bytes | None) -> bool:
    """Return True if the event seals no client_id, or if its client_id is `client`."""
    if client is not None and fields == b'{"client_id":"%b"}' % client:
        return True
    try:
        sealed = orjson.loads(fields)["client_id"]
    except (ValueError, LookupError, TypeError):  # step 7 reports what is wrong with them
        return True
    return client is not None and sealed == text(client)


def _commits_to_client(body: bytes) -> bool:
    """Return True if the body, in canonical form, has a commitment to a client."""
    begins = body.find(SEALED_MEMBER)
    return begins >= 0 and body.find(CLIENT_MEMBER, begins, body.find(b"}", begins)) >= 0


def _strays(conn: Connection) -> Iterator[int]:
    return (number(*columns(row)) for row in copy_rows(conn, STRAYS))


def _odd_version(row: bytes) -> OddVersion:
    position, stream, version, before, before_at = columns(row)
    return number(position), text(stream), number(version), number(before), number(before_at)
