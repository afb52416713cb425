"""Routes about agents: register an answer schema, suspend, resume, list."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayReadAgents, MayRegister, MayResume, MaySuspend
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.parameters import WRITTEN, IdempotencyKey, event_id, recorded
from api.http.problems import documented
from api.http.read_list import read_page
from api.http.routes.subject_changes import PROPOSABLE, propose
from api.services import InjectedServices
from ledger.database import AsyncConnection
from ledger.domain.subject import AGENT
from projections.agents.model import AGENTS
from projections.reads import AsOf, wait_until_caught_up
from projections.rows import read_rows
from projections.subjects.model import SUBJECTS
from schema.events import AgentRegistered, SubjectResumed, SubjectSuspended

router = APIRouter(prefix="/agents", tags=["agents"], route_class=JsonRoute)

AgentName = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9._@-]{0,99}$", description="The name of the agent, a subject.")
]


class AgentCommanded(BaseModel):
    """The command is recorded."""

    agent: str
    event: Literal["agent.registered", "subject.suspended", "subject.resumed"]


class Agent(BaseModel):
    """An agent. If `answer_schema` is null, any JSON object is accepted as its answer."""

    id: int
    name: str
    suspended: bool
    suspended_at: datetime | None
    suspended_by: str | None
    suspend_reason: str | None
    resumed_at: datetime | None
    resumed_by: str | None
    resume_reason: str | None
    answer_schema: str | None
    created_at: datetime
    updated_at: datetime


class ReadAgents(ReadList):
    """Query parameters of the list of agents."""


@router.get("", response_model=Page[Agent], responses=documented(401, 403, 422, 429, 503))
async def list_agents(
    services: InjectedServices, caller: MayReadAgents, query: Annotated[ReadAgents, Query()]
) -> Response:
    """List the subjects that are agents, with the schemas that their answers must follow.

    Role: advisor, compliance, auditor or admin.
    """

    async def finish(conn: AsyncConnection, rows: list[dict[str, Any]], as_of: AsOf) -> list[dict[str, Any]]:
        if as_of.position is None and query.consistency == "strong":
            await wait_until_caught_up(conn, AGENTS, patience_s=services.ledger.patience_s)
        names = [row["name"] for row in rows]
        registered = await read_rows(conn, AGENTS, {"names": names}, as_of=as_of, limit=len(names))
        schemas = {row["name"]: row["answer_schema"] for row in registered}
        kept = [{name: row[name] for name in Agent.model_fields if name in row} for row in rows]
        return [{**row, "answer_schema": schemas.get(row["name"])} for row in kept]

    return await read_page(services, caller, SUBJECTS, query, where={"kind": AGENT}, finish=finish)


@router.post("/{name}/registrations", status_code=201, response_model=AgentCommanded, responses=WRITTEN)
async def register(
    services: InjectedServices,
    caller: MayRegister,
    name: AgentName,
    body: AgentRegistered,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register the schema that this agent's answers must follow: any/v1 or allocations/v1. Role: admin."""
    receipt = await services.ledger.agents.register(caller, name, body, event_id(caller, idempotency_key))
    return recorded(201, {"agent": name, "event": body.type}, receipt, "/agents")


@router.post("/{name}/suspensions", status_code=201, response_model=AgentCommanded, responses=WRITTEN)
async def suspend(
    services: InjectedServices,
    caller: MaySuspend,
    name: AgentName,
    body: SubjectSuspended,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Suspend this agent: the ledger takes no calls or answers from it. Role: advisor, compliance or admin."""
    receipt = await services.ledger.agents.suspend_or_resume(caller, name, body, event_id(caller, idempotency_key))
    return recorded(201, {"agent": name, "event": body.type}, receipt, "/agents")


@router.post("/{name}/resumptions", status_code=201, response_model=AgentCommanded, responses=PROPOSABLE)
async def resume(
    services: InjectedServices,
    caller: MayResume,
    name: AgentName,
    body: SubjectResumed,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Resume this agent after a suspension. Role: compliance or admin."""
    key = event_id(caller, idempotency_key)
    if services.ledger.subject_changes.needs_two(caller):
        await services.ledger.agents.check_exists(name)
        return await propose(services, caller, name, body.type, body, key)
    receipt = await services.ledger.agents.suspend_or_resume(caller, name, body, key)
    return recorded(201, {"agent": name, "event": body.type}, receipt, "/agents")
