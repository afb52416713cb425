"""Verify the chain in a database: read every row through one COPY and recompute it (docs/formats/event.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from ledger.database import Connection
from ledger.proof.chain.stream_versions import OddVersion
from ledger.proof.chain.verifier import ChainReport, ChainVerifier
from ledger.proof.format.event_row import EventRow, Head
from ledger.proof.tlog.key_rotation import Handovers
from ledger.proof.tlog.note import VerifierKey
from ledger.store.copy import columns, copy_rows, event, number, stream_end, text
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.sign.recorded_rotations import recorded_rotations
from ledger.verify.trusted_checkpoints import NamedNote, Roots, TrustedCheckpoints

HERE = Path(__file__).parent
EVENTS, STREAMS, ODD_VERSIONS, STRAYS, HEAD, SESSION, COSIGNED = (
    (HERE / f"{name}.sql").read_bytes()
    for name in ("events", "streams", "odd_versions", "strays", "head", "session", "cosigned")
)
NUMBERS = "SELECT category, last FROM stream_numbers ORDER BY category LIMIT 10000"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
BY_INDEX = {"by_index": "on", "by_table": "off"}
BY_TABLE = {"by_index": "off", "by_table": "on"}

# Rows between two calls of on_progress.
STRIDE = 10_000

CLIENT_MEMBER = b'"client_id":'


def verify_chain(
    conn: Connection,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    trusted: TrustedCheckpoints | None = None,
) -> ChainReport:
    """Verify the whole ledger on the search_path of `conn`, in one snapshot and in flat memory.

    `conn` is not in a transaction, and may read what ledger_verifier may. `on_progress` gets the number of events
    verified and the number in all. With `trusted`, the events are compared with these checkpoints and with the ledger's
    own (step 10). Findings are in the report. Raises psycopg.Error if the ledger cannot be read.
    """
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION, BY_INDEX)
        head = read_head(conn)
        total = 0 if head is None else head.position

        def tell(done: int) -> None:
            if on_progress is not None:
                on_progress(done, max(done, total))

        if trusted is not None:
            if head is not None:
                trusted.follow(handovers(conn, head.origin, trusted.trusted.log))
            _add_published(conn, trusted)
        roots = Roots(()) if trusted is None else trusted.roots()
        verifier = ChainVerifier(head)
        verifier.feed(_events(conn, verifier, roots, tell))
        finish(conn, verifier)
    report = verifier.report()
    if trusted is not None:
        covered = trusted.compare(roots, report.origin, report.last_position, verifier.findings)
        report = replace(verifier.report(), covered=covered)
    tell(report.events)
    return report


def finish(conn: Connection, verifier: ChainVerifier) -> None:
    """Verify steps 6, 8 and 9 after all events, in the same snapshot and with the settings BY_INDEX."""
    verifier.finish()
    numbers = {str(category): int(last) for category, last in conn.execute(NUMBERS)}
    contiguous = verifier.check_streams(map(stream_end, copy_rows(conn, STREAMS)), numbers)
    verifier.check_strays(number(*columns(row)) for row in copy_rows(conn, STRAYS))
    if not contiguous:
        conn.execute(SESSION, BY_TABLE)
        verifier.report_versions(_odd_versions(conn))


def handovers(conn: Connection, origin: str, keys: Sequence[VerifierKey]) -> Handovers:
    """Return the keys that recorded rotations connect with `keys`. Raises psycopg.Error."""
    if not keys:
        return Handovers((), [])
    return Handovers(keys, [(recorded.position, recorded.rotation) for recorded in recorded_rotations(conn, origin)])


def read_head(conn: Connection) -> Head | None:
    """Return the head; None unless there is exactly one, without NULLs."""
    rows = conn.execute(HEAD).fetchall()
    return Head(*rows[0]) if len(rows) == 1 and None not in rows[0] else None


def _add_published(conn: Connection, trusted: TrustedCheckpoints) -> None:
    """Add the checkpoints of the database: the newest with enough cosignatures, and the newest of all."""
    needed = trusted.trusted.needed
    cosigned = conn.execute(COSIGNED, [max(1, needed)]).fetchone() or ("",)
    if cosigned[0]:
        trusted.add(NamedNote("the newest cosigned checkpoint of the database", cosigned[0].encode(), False, needed))
    elif needed:
        trusted.lacks_witnesses()
    newest = newest_checkpoint(conn)
    if newest is not None and not cosigned[0].startswith(newest.note):
        trusted.add(NamedNote("the newest checkpoint of the database", newest.note.encode(), held=False))


def _events(conn: Connection, verifier: ChainVerifier, roots: Roots, tell: Callable[[int], None]) -> Iterator[EventRow]:
    """Yield the events for the verifier, and add their hashes to the trees."""
    for done, row in enumerate(checked_clients(verifier, copy_rows(conn, EVENTS))):
        if done % STRIDE == 0:
            tell(done)
        roots.add(row.position, row.hash)
        yield row


def checked_clients(verifier: ChainVerifier, rows: Iterable[bytes]) -> Iterator[EventRow]:
    """Yield the rows of events.sql; after each, verify that the index of clients has its client_id."""
    for data in rows:
        row, client = event(data)
        yield row
        fields = row.fields
        if fields is not None and CLIENT_MEMBER in fields and not _same_client(fields, client):
            verifier.check_client(row.position, row.stream, known=client is not None)


def _same_client(fields: bytes, client: bytes | None) -> bool:
    """Return whether the sealed client_id, if any, is `client`."""
    if client is not None and fields == b'{"client_id":"%b"}' % client:
        return True
    try:
        sealed = orjson.loads(fields)["client_id"]
    except (ValueError, LookupError, TypeError):  # Step 7 reports values that cannot be read.
        return True
    return client is not None and sealed == text(client)


def _odd_versions(conn: Connection) -> Iterator[OddVersion]:
    for row in copy_rows(conn, ODD_VERSIONS):
        position, stream, version, before, at = columns(row)
        yield number(position), text(stream), number(version), number(before), number(at)
