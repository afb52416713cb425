"""Check in the database that registered recording keys attest the events: docs/formats/recording.md, section 4."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import orjson
from psycopg import sql

from ledger.database import Connection
from ledger.proof.findings import Kind
from ledger.proof.recording.attestation import (
    DIGEST_BYTES,
    NO_KEY_YET,
    STREAM,
    Attestation,
    AttestationChecker,
    Fault,
    read_registration,
)
from ledger.store.copy import columns, copy_rows, number

HERE = Path(__file__).parent / "sql"
ROWS = sql.SQL((HERE / "attested.sql").read_text("utf-8"))
LAST_SERIALS = (HERE / "last_serials.sql").read_bytes()
REGISTRATIONS = "SELECT position, body FROM events WHERE stream = %s AND position <= %s ORDER BY version"
FIRST = "SELECT min(position) FROM events WHERE stream = %s"
# Select the last attestation that begins at or before a position.
AROUND = "SELECT first, last FROM attestations WHERE first <= %s ORDER BY first DESC LIMIT 1"
# The keys by which append() accepts attestations. No ledger has as many as the limit.
KEYS = "SELECT key, registered, replaced FROM recording_keys ORDER BY registered LIMIT 10000"
BEYOND = "SELECT first, last FROM attestations WHERE first > %s ORDER BY first LIMIT 1"
# More lines than an append can have.
MOST_LINES = 1_000_000
OTHER_KEYS = "the database accepts events by other recording keys than the events register: a key is {}"
NO_EVENTS = "an attestation of the events up to position {} has not all of these events"


class Attested:
    """Check all events of a ledger in pieces, from position 1 on."""

    def __init__(self, origin: str) -> None:
        self._checker = AttestationChecker(origin)
        self._begin: int | None = None

    def check(self, conn: Connection, after: int, upto: int) -> Iterator[Fault]:
        """Yield the faults of the events in (after, upto]. Raises psycopg.Error."""
        if self._begin is None:
            self._begin = first_attested(conn)
        if self._begin is not None and self._begin <= upto:
            yield from _check(conn, self._checker, max(after, self._begin - 1), upto)

    def finish(self, conn: Connection, last: int) -> Iterator[Fault]:
        """Yield the faults at the end, if the last event is at this position."""
        yield from self._checker.finish()
        if self._begin is None:
            return
        beyond = conn.execute(BEYOND, [last]).fetchone()
        if beyond is not None:
            yield Fault(Kind.ATTESTATION_INVALID, int(beyond[0]), int(beyond[1]), NO_EVENTS.format(beyond[1]))

    def other_keys(self, conn: Connection) -> Iterator[Fault]:
        """Compare the index of keys with the registrations, which all hold: in the snapshot of `check`."""
        registered = {key: (each.registered, each.replaced) for key, each in self._checker.keys.items()}
        present = {bytes(key): (at, replaced) for key, at, replaced in conn.execute(KEYS)}
        for key in registered.keys() | present.keys():
            if registered.get(key) != present.get(key):
                position, _ = registered.get(key, (0, None))
                how = "missing" if key not in present else "changed" if key in registered else "additional"
                yield Fault(Kind.RECORDING_KEY_MISMATCH, position, position, OTHER_KEYS.format(how))


def attested_faults(conn: Connection, origin: str, last: int) -> Iterator[Fault]:
    """Yield the faults of the attestations of all events, and of the index of keys if all attestations hold.

    The last event is at this position, and `conn` is in a snapshot.
    """
    attested = Attested(origin)
    holds = True
    for fault in chain(attested.check(conn, 0, last), attested.finish(conn, last)):
        holds = False
        yield fault
    if holds:
        yield from attested.other_keys(conn)


def first_attested(conn: Connection) -> int | None:
    """Return the position from which on events need an attestation; None if the ledger has no recording key."""
    (registered,) = conn.execute(FIRST, [STREAM]).fetchone() or (None,)
    if registered is None:
        return None
    first, last = conn.execute(AROUND, [registered]).fetchone() or (0, 0)
    return int(first) if last >= registered else int(registered)


def unattested(conn: Connection, needed_from: int, last: int) -> Iterator[Fault]:
    """Yield the events from a position on that precede the first recording key, for a caller who requires
    attestations."""
    begin = first_attested(conn)
    upto = last if begin is None else begin - 1
    if needed_from <= upto:
        yield Fault(Kind.NOT_ATTESTED, needed_from, upto, NO_KEY_YET)


def first_fault(conn: Connection, origin: str, after: int, upto: int) -> Fault | None:
    """Return the first fault in (after, upto]; None without one. Everything up to `after` must hold.

    An attestation that is only partly in this range is checked as a whole.
    """
    begin = first_attested(conn)
    if begin is None or begin > upto:
        return None
    start, end = max(after, begin - 1), upto
    first, last = conn.execute(AROUND, [start]).fetchone() or (0, 0)
    start = int(first) - 1 if last > start else start
    first, last = conn.execute(AROUND, [end]).fetchone() or (0, 0)
    checker = AttestationChecker(origin)
    for position, body in conn.execute(REGISTRATIONS, [STREAM, start]):
        registration = read_registration(body.encode())
        if registration is not None:
            checker.register(position, registration)
    for key, session, serial in conn.execute(LAST_SERIALS, {"after": start, "upto": end}):
        checker.serials[bytes(key), bytes(session)] = serial
    found = _check(conn, checker, start, max(end, int(last)))
    return next(found, None) or next(iter(checker.finish()), None)


def _check(conn: Connection, checker: AttestationChecker, after: int, upto: int) -> Iterator[Fault]:
    statement = ROWS.format(after=sql.Literal(after), upto=sql.Literal(upto)).as_bytes(conn)
    for row in copy_rows(conn, statement):
        position, body, attestation = columns(row)
        at = number(position)
        yield from checker.take(at, body or b"", None if attestation is None else read_attestation(at, attestation))


def read_attestation(position: int, text: bytes) -> Attestation:
    """Read an attestation of attested.sql. If no append can have written it, return one without a known key."""
    nobody = Attestation(position, position, b"", b"", 0, b"", frozenset(), {})
    try:
        first, last, key, session, serial, signature, numbered, replayed, digests = orjson.loads(text)
        found, lines = bytes.fromhex(digests), frozenset(numbered)
        parts = [found[at : at + DIGEST_BYTES] for at in range(0, len(found), DIGEST_BYTES)]
        old = dict(zip(replayed, parts, strict=True))
        if not first <= last < first + MOST_LINES:
            return nobody
        return Attestation(
            first, last, bytes.fromhex(key), bytes.fromhex(session), serial, bytes.fromhex(signature), lines, old
        )
    except (ValueError, TypeError):
        return nobody
