"""Find the state of a read: wait for a read model, resolve `as_of`, name the streams that were set aside.

projections/rows.py reads the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic

from ledger.database import AsyncConnection
from ledger.errors import InvalidEvent, StreamSetAside, Unavailable
from ledger.store.head import position_at_async, read_head_async
from ledger.store.standby import read_standby, wait_for_replay
from projections.engine import NAMES_A_CLIENT
from projections.read_model import ReadModel

SEALED_VALUES = (
    "SELECT s.position, f.key, f.value::text FROM sealed_fields s, json_each(s.fields) f WHERE s.position = ANY (%s)"
)
FIND_SET_ASIDE = (Path(__file__).parent / "find_set_aside.sql").read_bytes()
POSITIONS = (
    "SELECT h.position, p.position, p.error, pg_is_in_recovery(), p.digest"
    " FROM head h LEFT JOIN projections p ON p.name = %s"
)
UNTOUCHED = (Path(__file__).parent / "untouched.sql").read_bytes()
# The most events that a read examines for one that it has to wait for.
MOST_LOOKED_AT = 200
# Pause between two reads of the position: starts at the first value, doubles up to the second.
POLL_S = (0.001, 0.02)


@dataclass(frozen=True)
class AsOf:
    """The state to read: as of a position, or with None the current one. `stream` limits the fold to one stream."""

    position: int | None = None
    stream: str | None = None


async def wait_until_caught_up(
    conn: AsyncConnection, read_model: ReadModel, *, patience_s: float, upto: int | None = None
) -> int:
    """Wait until the read model has all events up to `upto`; by default, all events recorded at the time of the call.

    Events that change no row of the read model are not waited for: it is then as it will be at the position. So a read
    does not wait for the record of the read before it.

    On a standby, wait for the replay of what it has received first. Returns the position waited for. Raises Unavailable
    if the read model, or the standby, does not get there within `patience_s`.
    """
    target = upto
    replayed = False
    looked_at = None
    pause_s, longest_pause_s = POLL_S
    deadline = monotonic() + patience_s
    while True:
        row = await (await conn.execute(POSITIONS, [read_model.name], prepare=True)).fetchone()
        if row is None:
            raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
        head, position, error, standby, digest = row
        if standby and not replayed:
            await wait_for_replay(conn, patience_s=patience_s)
            replayed = True
            continue
        target = head if target is None else target
        if position is not None and position > head:
            raise Unavailable(f"the read model {read_model.name} is beyond the last event: run advice-ledger rebuild")
        if position is not None and position >= target and error is None:
            return target
        if position is not None and position != looked_at and error is None and digest == read_model.digest:
            looked_at = position
            if await _untouched(conn, read_model, position, target):
                return target
        if error is not None or monotonic() > deadline:
            raise Unavailable(
                f"the read model {read_model.name} is behind; see /readyz, or ask with consistency=eventual"
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, longest_pause_s)


async def _untouched(conn: AsyncConnection, read_model: ReadModel, after: int, upto: int) -> bool:
    """Return True if no event in (after, upto] changes rows of the read model; False also if there are too many to
    check."""
    if upto - after > MOST_LOOKED_AT:
        return False
    parameters = {"after": after, "upto": upto, "types": read_model.event_types, "naming": NAMES_A_CLIENT}
    row = await (await conn.execute(UNTOUCHED, parameters, prepare=True)).fetchone()
    return row is not None and bool(row[0])


async def resolve(conn: AsyncConnection, as_of: int | datetime) -> int:
    """Return the position that `as_of` means. Raises InvalidEvent for a position beyond the last event."""
    if isinstance(as_of, datetime):
        return await position_at_async(conn, as_of)
    head = await read_head_async(conn)
    if head is None or as_of > head.position:
        if await read_standby(conn) is not None:
            raise Unavailable("the database is a standby, and has not replayed this position; try again")
        raise InvalidEvent("as_of", "the ledger has no such position yet")
    return as_of


async def stream_at(conn: AsyncConnection, position: int) -> str | None:
    """Return the stream of the event at this position, or None if there is no such event."""
    row = await (
        await conn.execute("SELECT stream FROM events WHERE position = %s", [position], prepare=True)
    ).fetchone()
    return None if row is None else str(row[0])


async def count_set_aside(
    conn: AsyncConnection, read_model: ReadModel, as_of: AsOf, *, client_id: Sequence[str] | None = None
) -> int:
    """Return how many streams the read model has set aside, of `as_of.stream` or of the client if given.

    Raises StreamSetAside if the requested stream or client has some.
    """
    parameters = {"read_model": read_model.name, "upto": as_of.position, "stream": as_of.stream, "client_id": client_id}
    row = await (await conn.execute(FIND_SET_ASIDE, parameters, prepare=True)).fetchone()
    if row is None:
        return 0
    stream, position, sqlstate, count = row
    if as_of.stream is not None or client_id is not None:
        raise StreamSetAside(read_model.name, stream, position, sqlstate)
    return int(count)


async def sealed_values(conn: AsyncConnection, positions: Sequence[int]) -> dict[int, dict[str, str]]:
    """Return the sealed values of the events at these positions: each field's JSON text, byte for byte as recorded.

    An event without sealed values, or whose values were erased, has an empty dict.
    """
    values: dict[int, dict[str, str]] = {position: {} for position in positions}
    cursor = await conn.execute(SEALED_VALUES, [list(values)], prepare=True)
    for position, name, value in await cursor.fetchall():
        values[position][name] = value
    return values
