"""An agent in a process of its own: it reads and records through the HTTP API alone, with its own token."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from decimal import Decimal
from functools import cache, lru_cache

from advice_ledger_client import Context, LedgerClient, Recommended

from api.agents.builtin.agent import BuiltinAgent
from api.agents.optimiser.agent import OptimiserAgent
from api.agents.protocol import Agent, AgentAnswer, AgentRefused, AgentRequest, Earlier, prepared_call


@lru_cache(maxsize=64)
def optimiser(until: date) -> Agent:
    """The optimiser that knows the prices up to this day."""
    return OptimiserAgent(until)


@cache
def house() -> Agent:
    """The built-in agent."""
    return BuiltinAgent()


def answer(
    client: LedgerClient, agent: Agent, request_id: int, *, supersedes: int | None = None
) -> Recommended | AgentRefused:
    """Has the agent answer a request, each step on record; or why it would not, which is on record too."""
    request = as_request(client.context(request_id))
    call = prepared_call(agent, request)
    with client.model_call(request_id, **call.model_dump(exclude_none=True)) as recorded:
        try:
            given = agent.answer(request, call)
        except AgentRefused as refusal:
            recorded.fail(refusal.reason, str(refusal))
            return refusal
        recorded.complete(given.completed.output_messages)
    return _record(client, request_id, given, recorded.model_call_id, supersedes)


def as_request(context: Context) -> AgentRequest:
    """What the agent is asked, from what the API said."""
    said = context.request
    names = [field.name for field in fields(Earlier)]
    return AgentRequest(
        request_id=said["request_id"],
        risk_profile=said["risk_profile"],
        amount_usd=Decimal(said["amount_usd"]),
        horizon_years=said["horizon_years"],
        objectives=tuple(said["objectives"]),
        constraints=said["constraints"],
        notes=said["notes"],
        earlier=tuple(Earlier(**{name: one[name] for name in names}) for one in context.earlier),
        as_of=context.as_of,
    )


def _record(
    client: LedgerClient, request_id: int, given: AgentAnswer, call_id: int, supersedes: int | None
) -> Recommended:
    return client.record_recommendation(
        request_id,
        recommendation=given.recommendation,
        model_name=given.model_name,
        model_version=given.model_version,
        parameters=given.parameters,
        prompt=given.prompt,
        model_call_id=call_id,
        supersedes=supersedes,
    )
