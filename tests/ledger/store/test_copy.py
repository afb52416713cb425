"""Rows of a binary COPY: taken apart as they were sent, with errors that say what happened."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.store.copy import columns, copy_rows, event, number, text
from tests.support import connect

MANY = b"COPY (SELECT g, repeat('x', 1000) FROM generate_series(1, 100000) g) TO STDOUT (FORMAT BINARY)"
OCTETS = st.none() | st.binary(max_size=60)


@pytest.fixture(scope="module")
def conn(server_url: str) -> Iterator[Connection]:
    """Any connection."""
    with connect(server_url) as conn:
        yield conn


def packed(*values: bytes | None) -> bytes:
    """A row as PostgreSQL's manual has it: the number of columns, then each with its length; -1 for NULL."""
    row = struct.pack(">h", len(values))
    for value in values:
        row += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return row


def test_rows_arrive_whole(conn: Connection) -> None:
    """Every row comes once and in order, without what stands before the first and after the last."""
    rows = [columns(row) for row in copy_rows(conn, MANY)]
    assert [struct.unpack(">i", row[0] or b"")[0] for row in rows] == list(range(1, 100_001))
    assert {row[1] for row in rows} == {b"x" * 1000}


def test_a_query_without_rows_gives_none(conn: Connection) -> None:
    """A query without rows gives none."""
    assert list(copy_rows(conn, b"COPY (SELECT 1 WHERE false) TO STDOUT (FORMAT BINARY)")) == []


def test_values_of_any_bytes(conn: Connection) -> None:
    """Bytes that text formats escape, and NULL, arrive unchanged; a row that looks like the trailer is a row."""
    statement = rb"COPY (SELECT '\x00090a0d5cff'::bytea, E'\t\n\\.', NULL, 5::bigint) TO STDOUT (FORMAT BINARY)"
    ((octets, letters, nothing, five),) = (columns(row) for row in copy_rows(conn, statement))
    assert (octets, letters, nothing, number(five)) == (b"\0\t\n\r\\\xff", b"\t\n\\.", None, 5)
    assert text(letters) == "\t\n\\."


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        (
            b"COPY (SELECT 1 / (5 - g) FROM generate_series(1, 9) g) TO STDOUT (FORMAT BINARY)",
            psycopg.errors.DivisionByZero,
        ),
        (b"COPY (SELECT 1 FROM nothing_of_this_name) TO STDOUT (FORMAT BINARY)", psycopg.errors.UndefinedTable),
        (b"COPY (SELECT", psycopg.errors.SyntaxError),
    ],
)
def test_errors_are_postgresqls_own(conn: Connection, statement: bytes, error: type[psycopg.Error]) -> None:
    """An error before or among the rows is raised as psycopg's class for it, and the connection serves on."""
    with pytest.raises(error):
        list(copy_rows(conn, statement))
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_reader_may_stop(conn: Connection) -> None:
    """Rows that nobody wants any more are cancelled, and the connection serves on."""
    rows = copy_rows(conn, MANY)
    assert next(rows)
    rows.close()  # type: ignore[attr-defined]
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_a_lost_connection_is_an_error(server_url: str) -> None:
    """When the server ends the session among the rows, that is an OperationalError and never an early end."""
    with connect(server_url) as conn, connect(server_url) as other:
        rows = copy_rows(conn, MANY)
        next(rows)
        other.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
        with pytest.raises(psycopg.OperationalError):
            list(rows)


@given(st.lists(OCTETS, min_size=12, max_size=12))
def test_any_row_can_be_taken_apart(values: list[bytes | None]) -> None:
    """A row of any columns, whatever their lengths, comes apart into the same columns."""
    assert columns(packed(*values)) == values


EIGHTS = st.none() | st.binary(min_size=8, max_size=8)


@given(st.tuples(EIGHTS, EIGHTS, EIGHTS, OCTETS, OCTETS, OCTETS, OCTETS, OCTETS, OCTETS, OCTETS, OCTETS, OCTETS))
def test_an_event_never_raises(values: tuple[bytes | None, ...]) -> None:
    """Any bytes in the columns of an event, or none, give a row for the verifier."""
    row, client, _ = event(packed(*values))
    assert row[9:] == values[9:11]
    assert row[8] == values[8] or values[8] is None
    assert client == values[11]
