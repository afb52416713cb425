"""Read the changes of subjects that wait or waited for another administrator, folded from the subjects' streams."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ledger.database import AsyncConnection
from ledger.domain import subject, subject_changes
from ledger.domain.subject_changes import ProposedChange
from ledger.errors import StreamUnreadable
from ledger.store import events as store
from ledger.store.recorded import read_events
from projections.shown import content_altered
from schema.events import SubjectChangeProposed
from schema.states import ChangeState

NEWEST = (Path(__file__).parent / "subject_changes.sql").read_bytes()
# The number of newest proposals that the list reads.
MOST = 1000


class SubjectChange(BaseModel):
    """A proposed change of a subject: the type of the event to record, its members, and the subject who answered."""

    id: int
    subject: str
    change: str
    members: dict[str, Any]
    display_name: str | None
    reason: str | None
    identity: str | None
    state: ChangeState
    proposed_by: str
    created_at: datetime
    expires_at: datetime
    answered_by: str | None
    answer_id: int | None
    rationale: str | None


async def read_changes(
    conn: AsyncConnection, state: ChangeState | None, now: datetime, limit: int
) -> list[SubjectChange]:
    """Return changes that are in this state now, or in any, the newest first. Raises ContentAltered.

    Those of a subject whose stream cannot be read are left out: nobody can confirm them.
    A caller that needs all that is recorded waits for the read model `event_index` first.
    """
    parameters = {"type": SubjectChangeProposed.type, "most": MOST}
    found = await (await conn.execute(NEWEST, parameters, prepare=True)).fetchall()
    histories = await store.streams(conn, *{stream for _, stream, _ in found})
    changes: dict[int, ProposedChange] = {}
    for history in histories:
        with contextlib.suppress(StreamUnreadable):
            changes |= subject_changes.fold(history)
    created_at = {id_: at for id_, _, at in found}
    known = [changes[id_] for id_ in created_at if id_ in changes]
    wanted = [one for one in known if state in {None, one.state(now)}][:limit]
    sealed = await _sealed(conn, wanted)
    return [_row(one, created_at[one.id], now, sealed) for one in wanted]


async def _sealed(conn: AsyncConnection, changes: Iterable[ProposedChange]) -> dict[int, dict[str, Any]]:
    """Return the sealed values of proposals and answers, by position. Raises ContentAltered."""
    positions = [event.position for one in changes for event in (one.proposal, one.answer) if event is not None]
    events = await read_events(conn, positions)
    altered = next((event.altered for event in events.values() if event.altered is not None), None)
    if altered is not None:
        raise content_altered(altered)
    return {position: event.fields for position, event in events.items()}


def _row(one: ProposedChange, created_at: datetime, now: datetime, sealed: dict[int, dict[str, Any]]) -> SubjectChange:
    values, answer = sealed.get(one.id, {}), one.answer
    return SubjectChange(
        id=one.id,
        subject=one.proposal.stream.removeprefix(subject.CATEGORY),
        change=one.change,
        members=one.proposal.data["members"],
        display_name=values.get("display_name"),
        reason=values.get("reason"),
        identity=values.get("identity"),
        state=one.state(now),
        proposed_by=one.proposal.by,
        created_at=created_at,
        expires_at=one.expires_at,
        answered_by=None if answer is None else answer.by,
        answer_id=None if answer is None else answer.position,
        rationale=None if answer is None else sealed.get(answer.position, {}).get("rationale"),
    )
