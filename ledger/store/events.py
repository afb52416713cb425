"""Append a batch to the event table, and read streams and single events, asynchronously."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import time_ns
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row
from psycopg.types.numeric import Int4, Int8

from ledger.database import AsyncConnection, Connection, replicated
from ledger.domain.history import RecordedEvent
from ledger.errors import LedgerError, from_database
from ledger.store.envelope import Line, NewEvent, encode
from ledger.store.recorder import NOTHING, Recorder

APPEND = (Path(__file__).parent / "sql/append.sql").read_bytes()
CHECK_APPEND = "SELECT check_append(%s)"
CHECK_RECORDER = "SELECT check_recorder(%s)"
CHECK_HISTORY = "SELECT check_history(%s, %s)"
STREAMS = (
    "SELECT position, id, stream, version, type, body FROM events WHERE stream = ANY (%s) ORDER BY stream, version"
)
FIRST = "SELECT position, id, stream, version, type, body FROM events WHERE stream = %s AND version = 1"
DECIDING = (Path(__file__).parent / "sql/deciding.sql").read_bytes()
RECORDED = "SELECT id FROM events WHERE id = ANY (%s)"
LOCATE = "SELECT stream, type, id FROM events WHERE position = %s"
BY_ID = (Path(__file__).parent / "sql/event_by_id.sql").read_bytes()
SEALED = "SELECT fields::text FROM sealed_fields WHERE position = %s"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The place of an event in the chain. `replayed`: the event had this place before the call."""

    position: int
    id: UUID
    stream: str
    version: int
    recorded_at: datetime
    hash: bytes
    replayed: bool


class StoreFailed(LedgerError):
    """The database refused an append with an SQLSTATE that the ledger does not use: a bug in this program."""


async def append(
    conn: AsyncConnection, lines: Sequence[Line], now_us: int | None = None, recorder: Recorder | None = None
) -> list[Receipt]:
    """Record all lines (from envelope.encode) or none; return a receipt for each, in order.

    `now_us` is the time of this program, by default that of its clock: the database compares its own with it. With a
    `recorder` the lines are attested.

    `conn` is in autocommit mode. Raises the errors of ledger.errors; after Unavailable the outcome is not known.
    """
    try:
        with replicated(conn):
            cursor = conn.cursor(binary=True)
            await cursor.execute(APPEND, parameters(lines, now_us, recorder), prepare=True)
            return receipts(lines, await cursor.fetchone())
    except psycopg.Error as error:
        raise _named(error) from error


def append_now(conn: Connection, event: NewEvent, recorder: Recorder | None) -> int:
    """Record one event through a blocking connection; return its position. Raises psycopg.Error."""
    line = encode(event)
    row = conn.cursor(binary=True).execute(APPEND, parameters([line], recorder=recorder)).fetchone()
    return receipts([line], row)[0].position


def parameters(lines: Sequence[Line], now_us: int | None = None, recorder: Recorder | None = None) -> dict[str, Any]:
    """Return the parameters of append() for these lines. An empty array is None, because it has no type."""
    sealed = [(number, value) for number, line in enumerate(lines, 1) for value in line.sealed]
    preconditions = [line.preconditions for line in lines]
    signatures = [line.signature for line in lines]
    return {
        "heads": [line.head for line in lines],
        "ids": [line.id for line in lines],
        "streams": [line.stream for line in lines],
        "types": [line.type for line in lines],
        "schemas": [Int4(line.schema) for line in lines],
        "expected": [line.expected for line in lines],
        "preconditions": preconditions if any(preconditions) else None,
        "sealed_lines": [Int4(number) for number, _ in sealed] or None,
        "sealed_names": [value.name for _, value in sealed] or None,
        "sealed_salts": [value.salt for _, value in sealed] or None,
        "sealed_values": [value.value for _, value in sealed] or None,
        "now_us": Int8(time_ns() // 1000 if now_us is None else now_us),
        "signatures": signatures if any(signatures) else None,
        **(NOTHING if recorder is None else recorder.attest(lines)),
    }


def receipts(lines: Sequence[Line], row: Any) -> list[Receipt]:
    """Return the receipts of these lines from the row that append() returned."""
    before, positions, streams, versions, times, hashes = row
    if len(times) == 1:
        times *= len(lines)
    return [
        Receipt(position, line.id, stream, version, recorded_at, digest, replayed=position <= before)
        for line, position, stream, version, recorded_at, digest in zip(
            lines, positions, streams, versions, times, hashes, strict=True
        )
    ]


async def check_append(conn: AsyncConnection, recorder: Recorder | None = None, *, deep: bool) -> None:
    """Find out whether an append can succeed, and record nothing. `deep` also tries to write to the disk."""
    try:
        with replicated(conn):
            await conn.execute(CHECK_APPEND, [deep], prepare=True)
            await conn.execute(CHECK_RECORDER, [recorder and recorder.public], prepare=True)
    except psycopg.Error as error:
        raise _named(error) from error


async def check_history(conn: AsyncConnection, known: Sequence[tuple[int, bytes]]) -> None:
    """Check that the database has the events at these positions, with these hashes. Raises LogRefused."""
    try:
        positions, hashes = [position for position, _ in known], [hash_ for _, hash_ in known]
        await conn.execute(CHECK_HISTORY, [positions, hashes])
    except psycopg.Error as error:
        raise _named(error) from error


async def streams(conn: AsyncConnection, *names: str) -> list[list[RecordedEvent]]:
    """Return the events of each stream by version, without sealed values; an empty list for an unknown stream."""
    async with conn.cursor(row_factory=class_row(RecordedEvent)) as cursor:
        await cursor.execute(STREAMS, [list(names)], prepare=True)
        events: dict[str, list[RecordedEvent]] = {name: [] for name in names}
        for event in await cursor.fetchall():
            events[event.stream].append(event)
    return [events[name] for name in names]


async def first(conn: AsyncConnection, stream: str) -> RecordedEvent | None:
    """Return the first event of a stream, without sealed values, or None."""
    async with conn.cursor(row_factory=class_row(RecordedEvent)) as cursor:
        await cursor.execute(FIRST, [stream], prepare=True)
        return await cursor.fetchone()


async def deciding(conn: AsyncConnection, stream: str, types: Sequence[str]) -> list[RecordedEvent]:
    """Return the events of these types in a stream, and its last event, by version, without sealed values."""
    async with conn.cursor(row_factory=class_row(RecordedEvent)) as cursor:
        await cursor.execute(DECIDING, {"stream": stream, "types": list(types)}, prepare=True)
        return await cursor.fetchall()


async def recorded(conn: AsyncConnection, event_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these ids are recorded."""
    cursor = await conn.execute(RECORDED, [list(event_ids)], prepare=True)
    return {row[0] for row in await cursor.fetchall()}


async def locate(conn: AsyncConnection, position: int) -> tuple[str, str, UUID] | None:
    """Return stream, type and id of the event at a position, or None."""
    return await (await conn.execute(LOCATE, [position], prepare=True)).fetchone()


async def find(conn: AsyncConnection, event_ids: Sequence[UUID]) -> list[tuple[Receipt, RecordedEvent] | None]:
    """Return the event with each of these ids, with its sealed values, or None."""
    cursor = await conn.execute(BY_ID, [list(event_ids)], prepare=True)
    found: dict[UUID, tuple[Receipt, RecordedEvent]] = {}
    async for position, id_, stream, version, recorded_at, hash_, type_, body, fields in cursor:
        receipt = Receipt(position, id_, stream, version, recorded_at, hash_, replayed=True)
        found[id_] = receipt, RecordedEvent(position, id_, stream, version, type_, body, fields)
    return [found.get(event_id) for event_id in event_ids]


async def sealed(conn: AsyncConnection, position: int) -> dict[str, Any]:
    """Return the sealed values of an event; empty if it has none, or if they were erased."""
    row = await (await conn.execute(SEALED, [position], prepare=True)).fetchone()
    values: dict[str, Any] = {} if row is None else orjson.loads(row[0])
    return values


def _named(error: psycopg.Error) -> LedgerError:
    known = from_database(error)
    return known if known is not None else StoreFailed(f"the database refused the append (SQLSTATE {error.sqlstate})")
