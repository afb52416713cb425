"""The knowledge about a case at a position, beside that of now; and the changes between two positions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection
from ledger.domain.case import stream_of
from ledger.proof.casefile.changes import changed_fields
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.decisions.model import DECISIONS
from projections.model_calls.model import MODEL_CALLS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.read_model import ReadModel
from projections.reads import stream_at
from projections.story.case import rows_of

POLICIES = (Path(__file__).parent / "policies.sql").read_bytes()
LAST_BEFORE = (
    "SELECT coalesce(max(e.position), 0) FROM events e"
    " WHERE e.stream = %s AND e.position <= %s AND acted_at(e.body, e.recorded_at) < %s"
)
RECOMMENDATION = "recommendation"
COMPARED: Mapping[str, ReadModel] = {
    "request": PORTFOLIO_REQUESTS,
    "recommendation": AI_RECOMMENDATIONS,
    "decision": DECISIONS,
    "model-call": MODEL_CALLS,
}


async def read_knowledge(
    conn: AsyncConnection, request_id: int, upto: int, now: int, may_read: Callable[[str], Awaitable[bool]]
) -> dict[str, Any] | None:
    """Read what was known as of a position; None if there was no such request. `may_read` decides about a stream.

    `shown` has each earlier recommendation that a model call was shown: as it stood when the agent read it, beside how
    it stands at `now`. The read model event_index must have caught up. Raises StreamUnreadable.
    """
    stream = stream_of(request_id)
    requests = await rows_of(conn, PORTFOLIO_REQUESTS, stream, upto)
    if not requests:
        return None
    calls = await rows_of(conn, MODEL_CALLS, stream, upto, parsed=True)
    shown = []
    for call, position in _recommendations(calls):
        source = await stream_at(conn, position)
        if source is not None and await may_read(source):
            shown.append(await _shown(conn, call, position, source, now))
    policies = await (await conn.execute(POLICIES, [upto], prepare=True)).fetchall()
    return {
        "request_id": request_id,
        "as_of": upto,
        "request": requests[0],
        "request_now": (await rows_of(conn, PORTFOLIO_REQUESTS, stream, now))[0],
        "shown": shown,
        "policies": [
            {
                "position": position,
                "adopted_at": at,
                **{name: data.get(name) for name in ("version", "sha256", "policy")},
            }
            for position, at, data in policies
        ],
    }


async def last_before(conn: AsyncConnection, request_id: int, moment: datetime, upto: int) -> int:
    """Return the position of the last event of a case, up to a position, that took place before a moment; 0 if none."""
    parameters = [stream_of(request_id), upto, moment]
    [(position,)] = await (await conn.execute(LAST_BEFORE, parameters, prepare=True)).fetchall()
    return int(position)


async def read_changes(conn: AsyncConnection, request_id: int, since: int, upto: int) -> list[dict[str, Any]] | None:
    """Return what changed in the rows of a case between two positions, field by field: rows that are new included.

    None if there was no such request at `upto`.
    """
    if not await rows_of(conn, PORTFOLIO_REQUESTS, stream_of(request_id), upto):
        return None
    changes = []
    for kind, read_model in COMPARED.items():
        before = await _by_id(conn, read_model, request_id, since)
        after = await _by_id(conn, read_model, request_id, upto)
        for row_id in sorted({*before, *after}):
            fields = changed_fields(before.get(row_id, {}), after.get(row_id, {}))
            if fields:
                lines = [{"path": line.path, "before": line.before, "after": line.after} for line in fields]
                changes.append({"kind": kind, "id": row_id, "fields": lines})
    return changes


async def _by_id(conn: AsyncConnection, read_model: ReadModel, request_id: int, upto: int) -> dict[int, dict[str, Any]]:
    rows = await rows_of(conn, read_model, stream_of(request_id), upto, parsed=True)
    return {row["id"]: row for row in rows}


def _recommendations(calls: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], int]]:
    """Return each call with the position of each recommendation that it was shown."""
    return [
        (call, int(item["id"]))
        for call in calls
        for item in call["shown"]
        if item["kind"] == RECOMMENDATION and item["id"].isascii() and item["id"].isdigit()
    ]


async def _shown(
    conn: AsyncConnection, call: Mapping[str, Any], position: int, stream: str, now: int
) -> dict[str, Any]:
    then = await rows_of(conn, AI_RECOMMENDATIONS, stream, call["as_of"] or call["id"])
    today = await rows_of(conn, AI_RECOMMENDATIONS, stream, now)
    return {
        "model_call_id": call["id"],
        "as_of": call["as_of"],
        "recommendation_id": position,
        "then": next((row for row in then if row["id"] == position), None),
        "now": next((row for row in today if row["id"] == position), None),
    }
