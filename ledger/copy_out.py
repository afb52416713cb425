"""Rows of COPY … TO STDOUT (FORMAT BINARY), taken apart (PostgreSQL manual, COPY, "Binary Format")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import psycopg

from ledger.proof.findings import Row

Connection = psycopg.Connection[Any]

# Before the first row: signature, flags, and the length of an extension that no version has.
PREAMBLE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# PostgreSQL counts microseconds from 2000.
EPOCH_US = 946_684_800_000_000

_count = struct.Struct(">h")
_length = struct.Struct(">i")
_bigint = struct.Struct(">q")
# The number of columns, and the first six of verify_events.sql, each after its length; then the length of the seventh.
_event = struct.Struct(">h i q i q i q i 32s i 32s i 36s i")
_version = struct.Struct(">h i q i q i")


def copy_rows(conn: Connection, statement: bytes) -> Iterator[bytes]:
    """Each row as it comes, without what stands before the first and after the last. Raises psycopg.Error."""
    with conn.cursor().copy(statement) as copy:
        before = len(PREAMBLE)
        for data in copy:
            row = bytes(data)[before:]
            before = 0
            if row != TRAILER:
                yield row


def columns(row: bytes) -> list[bytes | None]:
    """The columns of any row; None for NULL."""
    (count,) = _count.unpack_from(row)
    found: list[bytes | None] = []
    at = _count.size
    for _ in range(count):
        (size,) = _length.unpack_from(row, at)
        at += _length.size
        found.append(None if size < 0 else row[at : at + size])
        at += max(size, 0)
    return found


def event(row: bytes) -> tuple[Row, bytes | None]:
    """A row of verify_events.sql as the verifier takes it, and the client's id. For a NULL that no table allows: 0 or b""."""
    try:
        _, a, position, b, version, c, at, d, prev_hash, e, hash_, f, id_, size = _event.unpack_from(row)
    except struct.error:
        return _odd_event(row)
    if not (a == b == c == 8 and d == e == 32 and f == 36 and size >= 0):
        return _odd_event(row)
    end = _event.size + size
    stream = row[_event.size : end]
    rest = []
    for _ in range(5):
        (size,) = _length.unpack_from(row, end)
        end += 4
        if size < 0:
            rest.append(None)
        else:
            rest.append(row[end : (end := end + size)])
    kind, body, salts, fields, client = rest
    if kind is None or body is None:
        return _odd_event(row)
    return (position, _text(id_), _text(stream), version, _text(kind), at + EPOCH_US, prev_hash, hash_, body, salts, fields), client


def _odd_event(row: bytes) -> tuple[Row, bytes | None]:
    """The same for a row that the checks on the table do not allow."""
    position, version, at, prev_hash, hash_, id_, stream, kind, body, salts, fields, client = columns(row)
    return (
        _number(position),
        _text(id_ or b""),
        _text(stream or b""),
        _number(version),
        _text(kind or b""),
        _number(at) + EPOCH_US,
        prev_hash or b"",
        hash_ or b"",
        body or b"",
        salts,
        fields,
    ), client


def version(row: bytes) -> tuple[int, int, str]:
    """A row of verify_versions.sql: position, version, stream."""
    _, a, position, b, version, size = _version.unpack_from(row)
    if a == b == 8 and size >= 0:
        return position, version, _text(row[_version.size :])
    odd_position, odd_version, stream = columns(row)
    return _number(odd_position), _number(odd_version), _text(stream or b"")


def position(row: bytes) -> int:
    """A row of one bigint."""
    return _number(columns(row)[0])


def _number(column: bytes | None) -> int:
    return 0 if column is None else int(_bigint.unpack(column)[0])


def _text(column: bytes) -> str:
    return column.decode("utf-8", "replace")
