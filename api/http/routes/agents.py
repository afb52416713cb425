"""Routes about agents: register an answer schema, suspend, resume, list."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayRead, MayRegister, MayResume, MaySuspend
from api.http.json_route import JsonRoute
from api.http.parameters import WRITTEN, IdempotencyKey, Page, ReadList, event_id, recorded
from api.http.problems import documented
from api.http.reading import read_page
from api.services import InjectedServices
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from projections.agents.model import AGENTS, AgentState
from schema.events import AgentRegistered, AgentResumed, AgentSuspended

router = APIRouter(prefix="/agents", tags=["agents"], route_class=JsonRoute)

AgentName = Annotated[
    str, Path(pattern=r"^[a-z0-9][a-z0-9._@-]{0,99}$", description="The name of the token that the agent uses.")
]


class AgentCommanded(BaseModel):
    """The command is recorded."""

    agent: str
    event: Literal["agent.registered", "agent.suspended", "agent.resumed"]


class ReadAgents(ReadList):
    """Query parameters of the list of agents."""


@router.get("", response_model=Page[AgentState], responses=documented(401, 403, 422, 429, 503))
async def list_agents(services: InjectedServices, caller: MayRead, query: Annotated[ReadAgents, Query()]) -> Response:
    """List the agents that were ever registered or suspended. Any role."""
    return await read_page(services, caller, AGENTS, query)


@router.post("/{name}/registrations", status_code=201, response_model=AgentCommanded, responses=WRITTEN)
async def register(
    services: InjectedServices,
    caller: MayRegister,
    name: AgentName,
    body: AgentRegistered,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register the schema that this agent's answers must follow: any/v1 or allocations/v1. Role: admin."""
    return await _command(services.ledger, caller, name, body, idempotency_key)


@router.post("/{name}/suspensions", status_code=201, response_model=AgentCommanded, responses=WRITTEN)
async def suspend(
    services: InjectedServices,
    caller: MaySuspend,
    name: AgentName,
    body: AgentSuspended,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Suspend this agent: the ledger takes no calls or answers from it. Role: advisor, compliance or admin."""
    return await _command(services.ledger, caller, name, body, idempotency_key)


@router.post("/{name}/resumptions", status_code=201, response_model=AgentCommanded, responses=WRITTEN)
async def resume(
    services: InjectedServices,
    caller: MayResume,
    name: AgentName,
    body: AgentResumed,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Resume this agent after a suspension. Role: compliance or admin."""
    return await _command(services.ledger, caller, name, body, idempotency_key)


async def _command(
    ledger: Ledger,
    caller: Actor,
    name: str,
    event: AgentRegistered | AgentSuspended | AgentResumed,
    key: str | None,
) -> Response:
    receipt = await ledger.agents.command(caller, name, event, event_id(caller, key))
    return recorded(201, {"agent": name, "event": event.type}, receipt, "/agents")
