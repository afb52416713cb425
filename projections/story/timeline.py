"""Everything that happened with a client within a window of time, grouped by case; and who looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection
from projections.accesses.model import ACCESSES
from projections.event_search import positions_within
from projections.reads import AsOf
from projections.recorded_events import read_events
from projections.rows import read_rows
from projections.story.steps import MaySee, acted_at, as_step, everything

POSITIONS = (Path(__file__).parent / "timeline.sql").read_bytes()
MOST_ACCESSES = 1000


@dataclass(frozen=True)
class Window:
    """What took place within [start, end), recorded at positions [first, last]. An end of time that is None is open."""

    first: int
    last: int
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True)
class Timeline:
    """The steps of a client at positions [first, last], by case; `next_position` is where the next page begins, if any.

    Cases and the steps of no case are in the order in which they took place. `registry` has the steps that are of no
    case: registration, aliases, merges, assignments. `accesses` is None if the reader may not know who looked.
    """

    first: int
    last: int
    cases: dict[int, list[dict[str, Any]]]
    registry: list[dict[str, Any]]
    accesses: list[dict[str, Any]] | None
    next_position: int | None


async def read_timeline(
    conn: AsyncConnection,
    client_ids: Sequence[str],
    window: Window,
    limit: int,
    *,
    upto: int | None = None,
    may_see: MaySee = everything,
    may_see_accesses: bool = True,
) -> Timeline:
    """Read the first `limit` steps within the window, by position, of the client with these identifiers.

    Its streams are those that were known as of `upto`; by default, as of the last position of the window. `accesses`
    are those of the positions that this page covers, within the window: at most the newest MOST_ACCESSES.

    Raises ContentAltered.
    """
    parameters: dict[str, object] = {"client_ids": list(client_ids), **vars(window), "limit": limit + 1}
    upto = parameters["upto"] = window.last if upto is None else upto
    positions = [position for (position,) in await (await conn.execute(POSITIONS, parameters, prepare=True)).fetchall()]
    following = positions[limit] if len(positions) > limit else None
    steps = [as_step(event, may_see) for event in await read_events(conn, positions[:limit])]
    end = window.last if following is None else following - 1
    accesses = None
    if may_see_accesses:
        looked_from, looked_to = await positions_within(conn, window.start, window.end, upto)
        accesses = await _accesses(conn, client_ids, max(window.first, looked_from), min(end, looked_to))
    cases: dict[int, list[dict[str, Any]]] = {}
    for step in sorted(steps, key=acted_at):
        if step["request_id"] is not None:
            cases.setdefault(step["request_id"], []).append(step)
    registry = [step for step in sorted(steps, key=acted_at) if step["request_id"] is None]
    return Timeline(window.first, end, cases, registry, accesses, following)


async def _accesses(conn: AsyncConnection, client_ids: Sequence[str], first: int, last: int) -> list[dict[str, Any]]:
    filters = {"of_client": list(client_ids), "from_id": first, "before_id": last + 1}
    rows = await read_rows(conn, ACCESSES, filters, as_of=AsOf(), limit=MOST_ACCESSES, parsed=True)
    return rows[::-1]
