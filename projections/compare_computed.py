"""Compare a computed read model with its function, and with the recorded digests of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
from psycopg import Column, sql

from ledger.database import Connection
from projections.computed import ComputedModel, Row, in_order
from projections.read_model import sql_file

DIFFERENCES = sql_file(Path(__file__).with_name("differences.sql"))
# The rows as the function returns them, with the types of the table.
EXPECTED = sql.SQL("SELECT * FROM json_populate_recordset(NULL::{}, %(expected)s)")
ACTUAL = sql.SQL("SELECT * FROM {} e WHERE e.stream = %(stream)s")
DISAGREEING = sql.SQL("SELECT id FROM {} WHERE stream = %s AND NOT agrees ORDER BY id")
STREAMS = sql.SQL(
    "SELECT DISTINCT stream FROM events WHERE type = ANY (%(types)s) AND position <= %(upto)s"
    " UNION SELECT DISTINCT stream FROM {}"
)
# The type of JSON columns, whose text is not quoted again.
JSON_OID = 114
COLUMNS = sql.SQL("SELECT * FROM {} LIMIT 0")


def streams_of(conn: Connection, read_model: ComputedModel, upto: int) -> list[str]:
    """Return the streams that have or should have rows, in the order in which they are computed."""
    query = STREAMS.format(sql.Identifier(read_model.name))
    return in_order(str(stream) for (stream,) in conn.execute(query, {"types": read_model.event_types, "upto": upto}))


def differences(
    conn: Connection, read_model: ComputedModel, streams: Sequence[str], upto: int
) -> Iterator[tuple[int, str]]:
    """Yield the id of each row that differs, and how. `disagrees`: computed otherwise than it was recorded."""
    table = sql.Identifier(read_model.name)
    columns = conn.execute(COLUMNS.format(table)).description or ()
    query = DIFFERENCES.format(expected=EXPECTED.format(table), actual=ACTUAL.format(table))
    for stream in streams:
        [rows] = read_model.expected(conn, [stream], upto)
        expected = orjson.dumps([_member_by_member(columns, row) for row in rows]).decode()
        for row_id, kind, _ in conn.execute(query, {"expected": expected, "stream": stream}):
            yield int(row_id), str(kind)
        for (row_id,) in conn.execute(DISAGREEING.format(table), [stream]):
            yield int(row_id), "disagrees"


def _member_by_member(columns: Sequence[Column], row: Row) -> dict[str, object]:
    return {
        column.name: orjson.Fragment(value) if column.type_code == JSON_OID and value is not None else value
        for column, value in zip(columns, row, strict=True)
    }
