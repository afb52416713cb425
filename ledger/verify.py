"""Checks the chain in a database: every row through one COPY, recomputed here (docs/format.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from ledger.copy_out import Connection, columns, copy_rows, event, number, stream_end, text
from ledger.proof.findings import ChainReport, Head, Row
from ledger.proof.streams import OddVersion
from ledger.proof.verify import ChainVerifier

HERE = Path(__file__).parent
EVENTS, STREAMS, ODD_VERSIONS, STRAYS, HEAD, SESSION = (
    (HERE / f"verify_{name}.sql").read_bytes()
    for name in ("events", "streams", "odd_versions", "strays", "head", "session")
)
NUMBERS = "SELECT category, last FROM stream_numbers ORDER BY category LIMIT 10000"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
BY_INDEX = {"by_index": "on", "by_table": "off"}
BY_TABLE = {"by_index": "off", "by_table": "on"}

# Rows between two calls of on_progress.
STRIDE = 10_000

CLIENT_MEMBER = b'"client_id":'


def verify_chain(conn: Connection, *, on_progress: Callable[[int, int], None] | None = None) -> ChainReport:
    """Checks the whole ledger on the search_path of `conn`, in one snapshot and in flat memory.

    `conn` is not in a transaction, and may read what ledger_verifier may. `on_progress` is told how many events are
    checked and how many there are. What is wrong is in the report. Raises psycopg.Error: the ledger cannot be read.
    """
    with conn.transaction():
        conn.execute(SNAPSHOT)
        conn.execute(SESSION, BY_INDEX)
        head = _head(conn)
        total = 0 if head is None else head.position

        def tell(done: int) -> None:
            if on_progress is not None:
                on_progress(done, max(done, total))

        verifier = ChainVerifier(head)
        verifier.feed(_events(conn, verifier, tell))
        verifier.finish()
        numbers = {str(category): int(last) for category, last in conn.execute(NUMBERS)}
        contiguous = verifier.check_streams(map(stream_end, copy_rows(conn, STREAMS)), numbers)
        verifier.check_strays(number(*columns(row)) for row in copy_rows(conn, STRAYS))
        if not contiguous:
            conn.execute(SESSION, BY_TABLE)
            verifier.report_versions(_odd_versions(conn))
    report = verifier.report()
    tell(report.events)
    return report


def _head(conn: Connection) -> Head | None:
    """The head, if there is exactly one and it says everything."""
    rows = conn.execute(HEAD).fetchall()
    return Head(*rows[0]) if len(rows) == 1 and None not in rows[0] else None


def _events(conn: Connection, verifier: ChainVerifier, tell: Callable[[int], None]) -> Iterator[Row]:
    """The events for the verifier; and once it has seen one, whether the index of clients has the sealed client_id."""
    for done, data in enumerate(copy_rows(conn, EVENTS)):
        if done % STRIDE == 0:
            tell(done)
        row, client = event(data)
        yield row
        fields = row[10]
        if fields is not None and CLIENT_MEMBER in fields and not _same_client(fields, client):
            verifier.check_client(row[0], row[2], known=client is not None)


def _same_client(fields: bytes, client: bytes | None) -> bool:
    """Whether the sealed client_id, if there is one, is `client`."""
    if client is not None and fields == b'{"client_id":"%b"}' % client:
        return True
    try:
        sealed = orjson.loads(fields)["client_id"]
    except (ValueError, LookupError, TypeError):  # Step 7 says what is wrong with them.
        return True
    return client is not None and sealed == text(client)


def _odd_versions(conn: Connection) -> Iterator[OddVersion]:
    for row in copy_rows(conn, ODD_VERSIONS):
        position, stream, version, before, at = columns(row)
        yield number(position), text(stream), number(version), number(before), number(at)
