"""Checks the chain in a database: every row through one COPY, recomputed here (docs/format.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from ledger import copy_out
from ledger.copy_out import Connection, copy_rows
from ledger.proof.findings import ChainReport, Head, Kind, Row
from ledger.proof.verify import ChainVerifier

HERE = Path(__file__).parent
EVENTS, VERSIONS, STRAYS, HEAD, SESSION = (
    (HERE / f"verify_{name}.sql").read_bytes() for name in ("events", "versions", "strays", "head", "session")
)
NUMBERS = "SELECT category, last FROM stream_numbers ORDER BY category LIMIT 10000"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"

# Rows between two calls of on_progress.
STRIDE = 10_000

CLIENT_MEMBER = b'"client_id":'


def verify_chain(conn: Connection, *, on_progress: Callable[[int, int], None] | None = None) -> ChainReport:
    """Checks the whole ledger that is on the search_path of `conn`, in one snapshot and in flat memory.

    `conn` is not in a transaction, and may read what ledger_verifier may. `on_progress` is told the events checked so far and
    their number in all. What is wrong with the ledger is in the report; raises psycopg.Error where it cannot be read.
    """
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION)
        head = _head(conn)
        verifier = ChainVerifier(head)
        rows = _events(conn, verifier)
        verifier.feed(rows if on_progress is None else _counted(rows, 0 if head is None else head.position, on_progress))
        verifier.finish()
        numbers = {str(category): int(last) for category, last in conn.execute(NUMBERS)}
        verifier.check_versions(map(copy_out.version, copy_rows(conn, VERSIONS)), numbers)
        verifier.check_strays(map(copy_out.position, copy_rows(conn, STRAYS)))
    return verifier.report()


def _head(conn: Connection) -> Head | None:
    """The head, if there is exactly one."""
    rows = conn.execute(HEAD).fetchall()
    return Head(*rows[0]) if len(rows) == 1 else None


def _events(conn: Connection, verifier: ChainVerifier) -> Iterator[Row]:
    """The events for the verifier; on the way, whether the index of clients agrees with the sealed client_id (step 9)."""
    for data in copy_rows(conn, EVENTS):
        row, client = copy_out.event(data)
        fields = row[10]
        if fields is not None and CLIENT_MEMBER in fields and not _same_client(fields, client):
            message = f"the index of clients has {'another one' if client else 'none'} for {row[2]!r}"
            verifier.findings.add(Kind.CLIENT_MISMATCH, row[0], message)
        yield row


def _counted(rows: Iterator[Row], total: int, on_progress: Callable[[int, int], None]) -> Iterator[Row]:
    done = 0
    for row in rows:
        yield row
        done += 1
        if done % STRIDE == 0:
            on_progress(done, max(done, total))
    on_progress(done, max(done, total))


def _same_client(fields: bytes, client: bytes | None) -> bool:
    """Whether the sealed client_id, if there is one, is `client`."""
    try:
        sealed = orjson.loads(fields)["client_id"]
    except (ValueError, LookupError, TypeError):  # Step 7 says what is wrong with them.
        return True
    return client is not None and sealed == client.decode("utf-8", "replace")
