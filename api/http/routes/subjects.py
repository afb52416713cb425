"""Routes of administrators: subjects, their roles, groups and suspensions, and their credentials."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayManageSubjects, MayReadSubjects
from api.http.auth.tokens import new_token
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.parameters import WRITTEN, IdempotencyKey, ReadOne, as_json, event_id, recorded
from api.http.problems import documented
from api.http.read_list import read_page
from api.http.reading import Rows, read_named
from api.http.routes.subject_changes import PROPOSABLE, propose
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.domain.subject import stream_of
from ledger.domain.subject_changes import TAKE_TWO
from ledger.domain.subject_commands import Change, NewToken, check_known
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from projections.credentials.model import CREDENTIALS
from projections.reads import AsOf
from projections.subjects.model import SUBJECTS, Subject
from schema.events import (
    CredentialIssued,
    CredentialRevoked,
    IssueToken,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)
from schema.subjects import SUBJECT_PATTERN

LAST_USES = "SELECT credential, last_used_at FROM credential_uses WHERE subject = %s"

router = APIRouter(prefix="/subjects", tags=["subjects"], route_class=JsonRoute)

SubjectName = Annotated[str, Path(pattern=SUBJECT_PATTERN, description="The name of the subject, a pseudonym.")]


class SubjectChanged(BaseModel):
    """The change is recorded."""

    subject: str
    event: str


class TokenIssued(BaseModel):
    """The token, and its number among the credentials of the subject. It cannot be shown again."""

    subject: str
    credential: int
    token: str


class ShownCredential(BaseModel):
    """A credential of a subject, without the digest of its token. `last_used_at` is exact to a minute."""

    id: int
    subject: str
    credential: int
    kind: str
    issuer: str | None
    identity: str | None
    expires_at: datetime | None
    ends_at: datetime | None
    replaces: int | None
    replaced_by: int | None
    issued_by: str
    created_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    revoke_reason: str | None
    last_used_at: datetime | None


class ReadSubjects(ReadList):
    """Query parameters of the list of subjects."""

    kind: Literal["human", "agent", "service"] | None = None
    suspended: bool | None = None


class ReadCredentials(ReadList):
    """Query parameters of the list of a subject's credentials."""


@router.get("", response_model=Page[Subject], responses=documented(401, 403, 422, 429, 503))
async def list_subjects(
    services: InjectedServices, caller: MayReadSubjects, query: Annotated[ReadSubjects, Query()]
) -> Response:
    """List subjects, the newest first. Roles: admin, auditor, compliance."""
    return await read_page(services, caller, SUBJECTS, query)


@router.get("/{name}", response_model=Subject, responses=documented(401, 403, 404, 422, 503))
async def get_subject(
    services: InjectedServices, caller: MayReadSubjects, name: SubjectName, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one subject: its roles and their limits, groups, last suspension. Roles: admin, auditor, compliance."""
    row = await read_named(services, SUBJECTS, name, stream_of(name), query, "subject")
    return as_json(row, query)


@router.get(
    "/{name}/credentials", response_model=Page[ShownCredential], responses=documented(401, 403, 404, 422, 429, 503)
)
async def list_credentials(
    services: InjectedServices, caller: MayReadSubjects, name: SubjectName, query: Annotated[ReadCredentials, Query()]
) -> Response:
    """List the credentials of a subject, the newest first. Roles: admin, auditor, compliance."""

    async def finish(conn: AsyncConnection, rows: Rows, _as_of: AsOf) -> Rows:
        noted: dict[int, datetime] = dict(await (await conn.execute(LAST_USES, [name])).fetchall())
        for row in rows:
            number = row["credential"]
            row["last_used_at"] = services.callers.uses.last(name, number) or noted.get(number)
        return [{member: row[member] for member in ShownCredential.model_fields} for row in rows]

    check_known(await services.ledger.authority.state(name))
    return await read_page(services, caller, CREDENTIALS, query, where={"subject": name}, finish=finish)


@router.post("/{name}/registrations", status_code=201, response_model=SubjectChanged, responses=PROPOSABLE)
async def register_subject(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectRegistered,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register a person, an agent or a service under a new name. Role: admin."""
    key = event_id(caller, idempotency_key)
    if services.ledger.subject_changes.needs_two(caller):
        return await propose(services, caller, name, body.type, body, key)
    receipt = await services.ledger.subjects.register(caller, name, body, event_id=key)
    return _changed(name, body.type, receipt)


@router.post("/{name}/roles", status_code=201, response_model=SubjectChanged, responses=PROPOSABLE)
async def grant_role(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectRoleGranted,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Grant a role, perhaps until a time, perhaps for a list of clients. Replaces the limits it had. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


@router.post("/{name}/role-revocations", status_code=201, response_model=SubjectChanged, responses=WRITTEN)
async def revoke_role(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectRoleRevoked,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take a role from a subject. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


@router.post("/{name}/suspensions", status_code=201, response_model=SubjectChanged, responses=WRITTEN)
async def suspend_subject(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectSuspended,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Suspend this subject until somebody resumes it, whatever its roles and credentials. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


@router.post("/{name}/resumptions", status_code=201, response_model=SubjectChanged, responses=PROPOSABLE)
async def resume_subject(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectResumed,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """End the suspension of a subject. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


@router.post("/{name}/memberships", status_code=201, response_model=SubjectChanged, responses=PROPOSABLE)
async def join_group(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectGroupJoined,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a subject a member of a group. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


@router.post("/{name}/membership-ends", status_code=201, response_model=SubjectChanged, responses=PROPOSABLE)
async def leave_group(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: SubjectGroupLeft,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take a subject out of a group. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


@router.post("/{name}/credentials", status_code=201, response_model=TokenIssued, responses=PROPOSABLE)
async def issue_token(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: IssueToken,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Issue a token, or rotate one: with `replaces`, which ends at once or at `replaced_until`. Role: admin.

    The token is in this answer alone. A retry cannot show it again: 409 `token-issued`.
    """
    key = event_id(caller, idempotency_key)
    if services.ledger.subject_changes.needs_two(caller):
        return await propose(services, caller, name, CredentialIssued.type, body, key)
    token, sha256 = new_token()
    receipt, credential = await services.ledger.subjects.issue_shown(caller, name, NewToken(sha256, **dict(body)), key)
    answer = recorded(201, {"subject": name, "credential": credential, "token": token}, receipt, f"/subjects/{name}")
    answer.headers["Cache-Control"] = "no-store"
    return answer


@router.post("/{name}/revocations", status_code=201, response_model=SubjectChanged, responses=WRITTEN)
async def revoke_credential(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: CredentialRevoked,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """End a credential or signing key of a subject. Role: admin."""
    return await _change(services, caller, name, body, idempotency_key)


async def _change(
    services: Services, caller: Actor, name: str, change: Change, idempotency_key: str | None
) -> Response:
    key = event_id(caller, idempotency_key)
    if change.type in TAKE_TWO and services.ledger.subject_changes.needs_two(caller):
        return await propose(services, caller, name, change.type, change, key)
    receipt = await services.ledger.subjects.change(caller, name, change, key)
    return _changed(name, change.type, receipt)


def _changed(name: str, event: str, receipt: Receipt) -> Response:
    return recorded(201, {"subject": name, "event": event}, receipt, f"/subjects/{name}")
