"""Decode rows of COPY … TO STDOUT (FORMAT BINARY), as PostgreSQL's manual defines the format (COPY, "Binary
Format")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ledger.database import Connection
from ledger.proof.format.events import EventRow

# The bytes before the first row: signature, flags, and the length of an extension area that no version uses.
PREAMBLE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# PostgreSQL counts microseconds from 2000.
EPOCH_US = 946_684_800_000_000

_count = struct.Struct(">h")
_length = struct.Struct(">i")
_bigint = struct.Struct(">q")
# The number of columns, and the first six columns of ledger/verify/events.sql, each after its length.
_event = struct.Struct(">h i q i q i q i 32s i 32s i 36s")
# A row of ledger/verify/streams.sql: the number of columns, the length and value of the last version, the length of
# the name.
_stream_end = struct.Struct(">h i q i")


def copy_rows(conn: Connection, statement: bytes) -> Iterator[bytes]:
    """Yield each row as it arrives. `conn` is busy until the last row is read. Raises psycopg.Error."""
    with conn.cursor().copy(statement) as copy:
        before = len(PREAMBLE)
        for data in copy:
            row = bytes(data)[before:]
            before = 0
            if row != TRAILER:
                yield row


def columns(row: bytes) -> list[bytes | None]:
    """Return all columns of a row; None for NULL."""
    (count,) = _count.unpack_from(row)
    return _columns(row, _count.size, count)


class VerifiedRow(NamedTuple):
    """An event, its stream's client, and the checkpoint of this size if the statement reads checkpoints."""

    event: EventRow
    client: bytes | None
    note: bytes | None


def event(row: bytes) -> VerifiedRow:
    """Decode a row of ledger/verify/events.sql. A forbidden NULL becomes 0 or empty."""
    if len(row) < _event.size:
        return _odd_event(row)
    count, a, position, b, version, c, at, d, prev_hash, e, hash_, f, id_ = _event.unpack_from(row)
    if not (a == b == c == 8 and d == e == 32 and f == 36):
        return _odd_event(row)
    stream, kind, body, salts, fields, client, *note = _columns(row, _event.size, count - 6)
    if stream is None or kind is None or body is None:
        return _odd_event(row)
    try:
        names = id_.decode(), stream.decode(), kind.decode()
    except UnicodeDecodeError:
        return _odd_event(row)
    at += EPOCH_US
    found = EventRow(position, names[0], names[1], version, names[2], at, prev_hash, hash_, body, salts, fields)
    return VerifiedRow(found, client, note[0] if note else None)


def stream_end(row: bytes) -> tuple[str, int]:
    """Return the stream and its last version from a row of ledger/verify/streams.sql."""
    if len(row) >= _stream_end.size:
        _, a, last, size = _stream_end.unpack_from(row)
        if a == 8 and size >= 0:
            return text(row[_stream_end.size :]), last
    odd_last, odd_stream = columns(row)
    return text(odd_stream), number(odd_last)


def _odd_event(row: bytes) -> VerifiedRow:
    """Decode, column by column, a row that the constraints of the table do not allow."""
    position, version, at, prev_hash, hash_, id_, stream, kind, body, salts, fields, client, *note = columns(row)
    found = EventRow(
        number(position),
        text(id_),
        text(stream),
        number(version),
        text(kind),
        number(at) + EPOCH_US,
        prev_hash or b"",
        hash_ or b"",
        body or b"",
        salts,
        fields,
    )
    return VerifiedRow(found, client, note[0] if note else None)


def number(column: bytes | None) -> int:
    """Decode a bigint; 0 for NULL."""
    return 0 if column is None else int(_bigint.unpack(column)[0])


def text(column: bytes | None) -> str:
    """Decode a text; empty for NULL. Bytes that are not UTF-8 become replacement characters."""
    return "" if column is None else column.decode("utf-8", "replace")


def _columns(row: bytes, offset: int, count: int) -> list[bytes | None]:
    """Decode `count` columns from the byte `offset` on."""
    values: list[bytes | None] = []
    size_at = _length.unpack_from
    for _ in range(count):
        (size,) = size_at(row, offset)
        offset += 4
        if size < 0:
            values.append(None)
        else:
            values.append(row[offset : offset + size])
            offset += size
    return values
