"""Run an agent outside the server: it reads and records through the HTTP API alone, with its own token."""

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
    """Return the optimiser with the prices up to this day."""
    return OptimiserAgent(until)


@cache
def house() -> Agent:
    """Return the built-in agent."""
    return BuiltinAgent()


def answer(
    client: LedgerClient, agent: Agent, request_id: int, *, supersedes: int | None = None
) -> Recommended | AgentRefused:
    """Have the agent answer a request and record each step. A refusal is recorded and returned."""
    request = as_request(client.context(request_id))
    call = prepared_call(agent, request)
    with client.model_call(request_id, **call.model_dump(exclude_none=True)) as recorded:
        try:
            result = agent.answer(request, call)
        except AgentRefused as refusal:
            recorded.fail(refusal.reason, str(refusal))
            return refusal
        recorded.complete(result.completed.output_messages)
    return _record(client, request_id, result, recorded.model_call_id, supersedes)


def as_request(context: Context) -> AgentRequest:
    """Convert the API's context to the agent's request."""
    row = context.request
    names = [field.name for field in fields(Earlier)]
    return AgentRequest(
        request_id=row["request_id"],
        risk_profile=row["risk_profile"],
        amount_usd=Decimal(row["amount_usd"]),
        horizon_years=row["horizon_years"],
        objectives=tuple(row["objectives"]),
        constraints=row["constraints"],
        notes=row["notes"],
        earlier=tuple(Earlier(**{name: item[name] for name in names}) for item in context.earlier),
        as_of=context.as_of,
    )


def _record(
    client: LedgerClient, request_id: int, answer: AgentAnswer, call_id: int, supersedes: int | None
) -> Recommended:
    return client.record_recommendation(
        request_id,
        recommendation=answer.recommendation,
        model_name=answer.model_name,
        model_version=answer.model_version,
        parameters=answer.parameters,
        prompt=answer.prompt,
        model_call_id=call_id,
        supersedes=supersedes,
    )
