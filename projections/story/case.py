"""One case composed: the request, what was recommended beside what was decided, and all steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.database import AsyncConnection
from ledger.domain.case import stream_of
from ledger.proof.casefile.changes import lines
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.decisions.model import DECISIONS
from projections.model_calls.model import MODEL_CALLS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.read_model import ReadModel
from projections.reads import AsOf
from projections.recorded_events import WholeEvent, read_events
from projections.rows import read_rows
from projections.story.steps import MaySee, as_step, everything

POSITIONS = "SELECT position FROM events WHERE stream = %s AND position <= %s ORDER BY version LIMIT %s"
# No command gives a request as many events, or rows, as this.
MOST_EVENTS = 10_000


async def read_case(
    conn: AsyncConnection, request_id: int, upto: int, *, may_see: MaySee = everything
) -> dict[str, Any] | None:
    """Read a case as of a position; None if there was no such request. Raises ContentAltered, StreamUnreadable."""
    stream = stream_of(request_id)
    found = await (await conn.execute(POSITIONS, [stream, upto, MOST_EVENTS], prepare=True)).fetchall()
    events = {event.position: event for event in await read_events(conn, [position for (position,) in found])}
    requests = await rows_of(conn, PORTFOLIO_REQUESTS, stream, upto)
    if not requests:
        return None
    recommendations = await rows_of(conn, AI_RECOMMENDATIONS, stream, upto)
    return {
        "request_id": request_id,
        "client": next(iter(events.values())).data.get("client"),
        "as_of": upto,
        "request": requests[0],
        "recommendations": [{**row, "lines": _lines(row, events)} for row in recommendations],
        "decisions": await rows_of(conn, DECISIONS, stream, upto),
        "model_calls": await rows_of(conn, MODEL_CALLS, stream, upto),
        "events": [as_step(event, may_see) for event in events.values()],
    }


async def rows_of(
    conn: AsyncConnection, read_model: ReadModel, stream: str, upto: int, *, parsed: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a stream as of a position, the oldest first; `parsed` as in read_rows()."""
    rows = await read_rows(conn, read_model, {}, as_of=AsOf(upto, stream), limit=MOST_EVENTS, parsed=parsed)
    return rows[::-1]


def _lines(row: Mapping[str, Any], events: Mapping[int, WholeEvent]) -> list[dict[str, Any]] | None:
    """Return the recommendation beside what was decided, line by line.

    An edit decided its replacement, an approval the recommendation itself; before that, nothing is decided. None if a
    content was erased.
    """
    recommended = events[row["id"]].values.get("recommendation")
    decided = None
    if row["outcome"] == "edit":
        decided = events[row["decision_id"]].values.get("replacement")
    elif row["outcome"] == "approve":
        decided = recommended
    if recommended is None or (row["outcome"] == "edit" and decided is None):
        return None
    compared = lines(recommended, decided)
    return [
        {
            "path": line.path,
            "recommended": line.before,
            "decided": line.after,
            "changed": line.changed and decided is not None,
        }
        for line in compared
    ]
