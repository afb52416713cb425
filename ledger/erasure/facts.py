"""Read what an erasure of a client would delete, and the facts that decide whether it is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection
from ledger.domain.retention import Record
from ledger.store.head import database_time

FACTS, ENDED = (Path(__file__).with_name(f"{name}.sql").read_bytes() for name in ("facts", "ended"))
# Tables of any size are read through indexes.
FEW_STREAMS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off"


@dataclass(frozen=True)
class Contents:
    """Describe what the ledger has of a client: the last version of each stream, and the number of sealed values.

    `now` is by the database's clock.
    """

    versions: dict[str, int]
    records: list[Record]
    events: int
    values: int
    now: datetime


async def read_newest(conn: AsyncConnection, streams: Sequence[str]) -> list[tuple[str, Record]]:
    """Return the newest event of each type in each stream of these clients, which are given by their own streams."""
    async with conn.transaction():
        await conn.execute(FEW_STREAMS, prepare=False)
        rows = await (await conn.execute(ENDED, {"streams": list(streams)})).fetchall()
    return [(own, Record(stream, kind, newest)) for own, stream, kind, newest in rows]


async def read_contents(conn: AsyncConnection, streams: Sequence[str]) -> Contents:
    """Return the contents of all streams of the client, whose own streams are `streams`, one for each identifier."""
    async with conn.transaction():
        await conn.execute(FEW_STREAMS, prepare=False)
        rows: list[tuple[Any, ...]] = await (await conn.execute(FACTS, {"streams": list(streams)})).fetchall()
        now = await database_time(conn)
    versions: dict[str, int] = {}
    for stream, _, version, *_ in rows:
        versions[stream] = max(version, versions.get(stream, 0))
    records = [Record(stream, kind, newest) for stream, kind, _, newest, _, _ in rows]
    return Contents(versions, records, sum(row[4] for row in rows), sum(row[5] for row in rows), now)
