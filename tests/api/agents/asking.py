"""Ask an agent as the worker does: prepare, then answer."""

from typing import Any

from api.agents.protocol import Agent, AgentAnswer, AgentRequest, Earlier
from schema.events import CallStart


def ask(agent: Agent, request: AgentRequest) -> AgentAnswer:
    """Take both steps."""
    return agent.answer(request, agent.prepare(request))


def message(call: CallStart) -> str:
    """Return the text of the call's one user message."""
    messages: Any = call.input_messages
    (only,) = messages
    (part,) = only["parts"]
    assert (only["role"], part["type"]) == ("user", "text")
    text: str = part["content"]
    return text


def earlier(number: int = 7, **members: Any) -> Earlier:
    """Build an earlier recommendation, half bonds and half cash, approved by default."""
    halves = [
        {"asset_class": "government_bonds", "weight": "0.5000", "amount_usd": "500.00"},
        {"asset_class": "cash", "weight": "0.5000", "amount_usd": "500.00"},
    ]
    given: dict[str, Any] = {"recommendation": {"allocations": halves}, "state": "approved", "request_id": 3} | members
    return Earlier(id=number, model_name="some-model", model_version="1", **given)
