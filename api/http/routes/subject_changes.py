"""Routes about changes of subjects that take two administrators: list, confirm, decline."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.auth.permissions import MayManageSubjects, MayReadSubjects
from api.http.auth.tokens import new_token
from api.http.json_route import JsonRoute
from api.http.parameters import (
    RECORDED_HEADERS,
    WRITTEN,
    IdempotencyKey,
    PathId,
    as_json,
    event_id,
    plain_id,
    recorded,
)
from api.http.problems import documented
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.domain import subject, subject_changes
from ledger.domain.subject_changes import ProposedChange
from ledger.store import events as store
from ledger.store.envelope import Actor
from ledger.store.recorded import read_events
from projections.event_index.model import EVENT_INDEX
from projections.reads import wait_until_caught_up
from projections.shown import content_altered
from schema.events import ConfirmChange, DeclineChange, SubjectChangeDeclined, SubjectChangeProposed
from schema.states import ChangeState

# The list looks at this many proposals, the newest. A change is pending for seven days at most.
MOST = 1000
NEWEST = "SELECT id, stream, created_at FROM event_index WHERE type = %s ORDER BY id DESC LIMIT %s"

router = APIRouter(prefix="/subject-changes", tags=["subjects"], route_class=JsonRoute)


class ChangeProposed(BaseModel):
    """The change is recorded as a proposal: it takes effect when another administrator confirms it."""

    subject: str
    event: str
    change_id: int


class ChangeConfirmed(BaseModel):
    """The change is in effect. `token` is null unless the change issued one; it cannot be shown again."""

    subject: str
    event: str
    credential: int | None
    token: str | None


class ChangeDeclined(BaseModel):
    """The change has no effect."""

    subject: str
    event: str


class SubjectChange(BaseModel):
    """A proposed change of a subject: the type of the event to record, its members, and who answered."""

    id: int
    subject: str
    change: str
    members: dict[str, Any]
    display_name: str | None
    reason: str | None
    state: ChangeState
    proposed_by: str
    created_at: datetime
    expires_at: datetime
    answered_by: str | None
    answer_id: int | None
    rationale: str | None


class SubjectChanges(BaseModel):
    """The changes, the newest first."""

    items: list[SubjectChange]


class ReadSubjectChanges(BaseModel):
    """Query parameters of the list of changes."""

    model_config = ConfigDict(extra="forbid")

    state: ChangeState | None = None
    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(plain_id)] = 50


# The `responses` of a write that is recorded as a proposal if changes take two administrators.
PROPOSABLE: dict[int | str, dict[str, Any]] = {
    **WRITTEN,
    202: {
        "model": ChangeProposed,
        "headers": RECORDED_HEADERS,
        "description": "The access policy asks for two administrators: the change waits for a confirmation.",
    },
}


async def propose(
    services: Services, caller: Actor, name: str, change: str, body: BaseModel, key: UUID | None
) -> Response:
    """Record a change as a proposal, and answer so."""
    receipt = await services.ledger.subject_changes.propose(caller, name, change, body, key)
    content = {"subject": name, "event": SubjectChangeProposed.type, "change_id": receipt.position}
    return recorded(202, content, receipt, "/subject-changes")


@router.get("", response_model=SubjectChanges, responses=documented(401, 403, 422, 503))
async def list_subject_changes(
    services: InjectedServices, caller: MayReadSubjects, query: Annotated[ReadSubjectChanges, Query()]
) -> Response:
    """List changes that were proposed, the newest first. Roles: admin, auditor, compliance."""
    ledger = services.ledger
    now = ledger.authority.clock()

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        await wait_until_caught_up(conn, EVENT_INDEX, patience_s=ledger.patience_s)
        found = await (await conn.execute(NEWEST, [SubjectChangeProposed.type, MOST])).fetchall()
        histories = await store.streams(conn, *{stream for _, stream, _ in found})
        changes = {id_: one for history in histories for id_, one in subject_changes.fold(history).items()}
        created_at = {id_: at for id_, _, at in found}
        known = [changes[id_] for id_ in created_at if id_ in changes]
        wanted = [one for one in known if query.state in {None, one.state(now)}][: query.limit]
        sealed = await _sealed(conn, wanted)
        return [_row(one, created_at[one.id], now, sealed) for one in wanted]

    return as_json({"items": await ledger.readers.run(work)})


@router.post("/{change_id}/confirmations", status_code=201, response_model=ChangeConfirmed, responses=WRITTEN)
async def confirm_subject_change(
    services: InjectedServices,
    caller: MayManageSubjects,
    change_id: PathId,
    body: ConfirmChange,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Confirm a change that another administrator proposed: it takes effect. Role: admin.

    If the change issues a token, it is in this answer alone. A retry cannot show it again: 409 `token-issued`.
    """
    token, sha256 = new_token()
    key = event_id(caller, idempotency_key)
    done = await services.ledger.subject_changes.confirm(caller, change_id, body, sha256, key)
    shown = None if done.credential is None else token
    content = {"subject": done.subject, "event": done.change, "credential": done.credential, "token": shown}
    answer = recorded(201, content, done.receipt, f"/subjects/{done.subject}")
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.post("/{change_id}/declines", status_code=201, response_model=ChangeDeclined, responses=WRITTEN)
async def decline_subject_change(
    services: InjectedServices,
    caller: MayManageSubjects,
    change_id: PathId,
    body: DeclineChange,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Decline a change that was proposed, or withdraw one's own. Role: admin."""
    key = event_id(caller, idempotency_key)
    receipt, name = await services.ledger.subject_changes.decline(caller, change_id, body, key)
    return recorded(201, {"subject": name, "event": SubjectChangeDeclined.type}, receipt, "/subject-changes")


async def _sealed(conn: AsyncConnection, changes: Iterable[ProposedChange]) -> dict[int, dict[str, Any]]:
    """Return the sealed values of proposals and answers, by position. Raises ContentAltered."""
    positions = [event.position for one in changes for event in (one.proposal, one.answer) if event is not None]
    events = await read_events(conn, positions)
    altered = next((event.altered for event in events.values() if event.altered is not None), None)
    if altered is not None:
        raise content_altered(altered)
    return {position: event.fields for position, event in events.items()}


def _row(one: ProposedChange, created_at: datetime, now: datetime, sealed: dict[int, dict[str, Any]]) -> dict[str, Any]:
    values, answer = sealed.get(one.id, {}), one.answer
    return {
        "id": one.id,
        "subject": one.proposal.stream.removeprefix(subject.CATEGORY),
        "change": one.change,
        "members": one.proposal.data["members"],
        "display_name": values.get("display_name"),
        "reason": values.get("reason"),
        "state": one.state(now),
        "proposed_by": one.proposal.by,
        "created_at": created_at,
        "expires_at": one.expires_at,
        "answered_by": None if answer is None else answer.by,
        "answer_id": None if answer is None else answer.position,
        "rationale": None if answer is None else sealed.get(answer.position, {}).get("rationale"),
    }
