"""Routes about changes of subjects that take two administrators: list, confirm, decline."""

from __future__ import annotations

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
from ledger.store.envelope import Actor
from projections.event_index.model import EVENT_INDEX
from projections.reads import wait_until_caught_up
from projections.subject_changes import SubjectChange, read_changes
from schema.events import ConfirmChange, DeclineChange, SubjectChangeDeclined, SubjectChangeProposed
from schema.states import ChangeState

router = APIRouter(prefix="/subject-changes", tags=["subjects"], route_class=JsonRoute)


class ChangeProposed(BaseModel):
    """The change is recorded as a proposal: it takes effect when another administrator confirms it."""

    subject: str
    event: str
    change_id: int


class ChangeConfirmed(BaseModel):
    """The change is in effect. `credential` is the number of a new token or identity.

    `token` is null unless the change issued one; it cannot be shown again.
    """

    subject: str
    event: str
    credential: int | None
    token: str | None


class ChangeDeclined(BaseModel):
    """The change has no effect."""

    subject: str
    event: str


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
    free = services.callers.check_free
    receipt = await services.ledger.subject_changes.propose(caller, name, change, body, key, free)
    content = {"subject": name, "event": SubjectChangeProposed.type, "change_id": receipt.position}
    return recorded(202, content, receipt, "/subject-changes")


@router.get("", response_model=SubjectChanges, responses=documented(401, 403, 422, 503))
async def list_subject_changes(
    services: InjectedServices, caller: MayReadSubjects, query: Annotated[ReadSubjectChanges, Query()]
) -> Response:
    """List changes that were proposed, the newest first. Roles: admin, auditor, compliance."""
    ledger = services.ledger
    now = ledger.authority.clock()

    async def work(conn: AsyncConnection) -> list[SubjectChange]:
        await wait_until_caught_up(conn, EVENT_INDEX, patience_s=ledger.patience_s)
        return await read_changes(conn, query.state, now, query.limit)

    return as_json({"items": [one.model_dump() for one in await ledger.readers.run(work)]})


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
    free = services.callers.check_free
    done = await services.ledger.subject_changes.confirm(caller, change_id, body, sha256, key, free)
    shown = token if done.token else None
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
