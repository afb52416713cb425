"""Routes for agents outside of this program: the requests that wait for an answer, and claims on them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.auth.permissions import MayAnswer
from api.http.json_route import JsonRoute
from api.http.lists import decode_cursor, encode_cursor
from api.http.parameters import PathId, as_json, plain_id
from api.http.problems import documented
from api.services import InjectedServices
from ledger.database import AsyncConnection
from ledger.domain.claim import LEASE_S, LONGEST_LEASE_S
from projections.assignments import Assignment, assignments

router = APIRouter(prefix="/assignments", tags=["assignments"], route_class=JsonRoute)


class AssignmentRow(BaseModel):
    """A queued request that no other agent has claimed. `claimed`: by the agent that asks, until `claim_expires_at`."""

    request_id: int
    created_at: datetime
    claimed: bool
    claim_expires_at: datetime | None


class Assignments(BaseModel):
    """A page of the queue, the oldest first; `next_cursor` is null on the last page."""

    items: list[AssignmentRow]
    next_cursor: str | None


class ReadAssignments(BaseModel):
    """Query parameters of the queue."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(plain_id)] = Field(50, description="Rows per page.")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the previous page."
    )


class ClaimRequest(BaseModel):
    """A claim, or its renewal: for this many seconds from now."""

    model_config = ConfigDict(extra="forbid")

    lease_s: Annotated[int, Field(strict=True, ge=1, le=LONGEST_LEASE_S)] = LEASE_S


class Claimed(BaseModel):
    """The request is the agent's until this time."""

    request_id: int
    claim_expires_at: datetime


@router.get("", response_model=Assignments, responses=documented(401, 403, 409, 422, 503))
async def list_assignments(
    services: InjectedServices, caller: MayAnswer, query: Annotated[ReadAssignments, Query()]
) -> Response:
    """List the requests that wait for an answer and that no other agent has claimed, the oldest first. Role: agent."""
    ledger = services.ledger
    await ledger.agents.check_running(caller.id)
    after = 0 if query.cursor is None else decode_cursor(query.cursor)[0]

    async def work(conn: AsyncConnection) -> list[Assignment]:
        # One row more than the page has tells whether there is a next one.
        return await assignments(conn, caller.id, after=after, limit=query.limit + 1, patience_s=ledger.patience_s)

    found = await ledger.readers.run(work)
    items = found[: query.limit]
    cursor = encode_cursor(items[-1].request_id, None) if len(found) > query.limit else None
    return as_json({"items": [asdict(item) for item in items], "next_cursor": cursor})


@router.post(
    "/{request_id}/claim",
    response_model=Claimed,
    responses=documented(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def claim_request(
    services: InjectedServices, caller: MayAnswer, request_id: PathId, body: ClaimRequest
) -> Response:
    """Claim a queued request, or renew the claim. No other agent can answer it until the lease ends. Role: agent."""
    ends = await services.ledger.claims.claim(caller, request_id, body.lease_s)
    return as_json({"request_id": request_id, "claim_expires_at": ends})
