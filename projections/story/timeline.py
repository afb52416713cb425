"""Everything that happened with a client within a range, grouped by case; and who looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection
from projections.accesses.model import ACCESSES
from projections.reads import AsOf
from projections.recorded_events import read_events
from projections.rows import read_rows
from projections.story.steps import MaySee, as_step, everything

POSITIONS = (Path(__file__).parent / "timeline.sql").read_bytes()
MOST_ACCESSES = 1000


@dataclass(frozen=True)
class Timeline:
    """The steps of a client within [first, last], by case; `next_position` is where the next page begins, if any.

    `registry` has the steps that are of no case: registration, aliases, merges, assignments. `accesses` is None if the
    reader may not know who looked.
    """

    first: int
    last: int
    cases: dict[int, list[dict[str, Any]]]
    registry: list[dict[str, Any]]
    accesses: list[dict[str, Any]] | None
    next_position: int | None


async def read_timeline(  # noqa: PLR0913 - the range, and what is shown of it
    conn: AsyncConnection,
    client_ids: Sequence[str],
    first: int,
    last: int,
    limit: int,
    *,
    upto: int | None = None,
    may_see: MaySee = everything,
    may_see_accesses: bool = True,
) -> Timeline:
    """Read the first `limit` steps within positions [first, last] of the client with these identifiers.

    Its streams are those that were known as of `upto`; by default, as of `last`. `accesses` are those within the range
    that this page covers: at most the newest MOST_ACCESSES.

    Raises ContentAltered.
    """
    parameters: dict[str, object] = {"client_ids": list(client_ids), "first": first, "last": last, "limit": limit + 1}
    parameters["upto"] = last if upto is None else upto
    positions = [position for (position,) in await (await conn.execute(POSITIONS, parameters, prepare=True)).fetchall()]
    following = positions[limit] if len(positions) > limit else None
    steps = [as_step(event, may_see) for event in await read_events(conn, positions[:limit])]
    end = last if following is None else following - 1
    accesses = await _accesses(conn, client_ids, first, end) if may_see_accesses else None
    cases: dict[int, list[dict[str, Any]]] = {}
    for step in steps:
        if step["request_id"] is not None:
            cases.setdefault(step["request_id"], []).append(step)
    registry = [step for step in steps if step["request_id"] is None]
    return Timeline(first, end, cases, registry, accesses, following)


async def _accesses(conn: AsyncConnection, client_ids: Sequence[str], first: int, last: int) -> list[dict[str, Any]]:
    filters = {"of_client": list(client_ids), "from_id": first, "before_id": last + 1}
    rows = await read_rows(conn, ACCESSES, filters, as_of=AsOf(), limit=MOST_ACCESSES, parsed=True)
    return rows[::-1]
