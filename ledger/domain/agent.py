"""An agent as its own stream `agent-NAME` tells it: what its answers have to look like, and the stop button.

    running --agent.suspended--> suspended --agent.resumed--> running

NAME is the id of the actor whose credentials the agent uses, so an agent cannot call itself another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ledger.domain.answer_schemas import ANY, SCHEMAS
from ledger.domain.history import Past
from ledger.errors import InvalidEvent, Refused
from schema.events import AgentRegistered

CATEGORY = "agent-"

# The agents that the server runs itself. They act without a token, so no token may carry one of these names.
RESERVED = frozenset({"builtin-model-portfolios", "openai-compatible", "skfolio-optimiser"})


@dataclass(frozen=True)
class Agent:
    """`version` is that of the stream's last event; an agent that nobody registered may answer anything."""

    suspended: bool = False
    registered: str | None = None
    version: int = 0

    @property
    def answer_schema(self) -> str:
        """What its answers have to look like."""
        return self.registered or ANY


def stream_of(name: str) -> str:
    """The stream that an agent's own events are in."""
    return f"{CATEGORY}{name}"


def fold(history: Iterable[Past]) -> Agent:
    """The state after the stream's events, given in order."""
    agent = Agent()
    for past in history:
        match past.type:
            case "agent.registered":
                agent = replace(agent, registered=past.data["answer_schema"])
            case "agent.suspended":
                agent = replace(agent, suspended=True)
            case "agent.resumed":
                agent = replace(agent, suspended=False)
        agent = replace(agent, version=past.version)
    return agent


def check_running(agent: Agent) -> None:
    """Raises Refused `agent-suspended`."""
    if agent.suspended:
        raise Refused("agent-suspended", "this agent is suspended: nothing is taken from it until it is resumed")


def check_suspend(agent: Agent) -> None:
    """Raises Refused `agent-suspended` where that was done already."""
    if agent.suspended:
        raise Refused("agent-suspended", "this agent is suspended already")


def check_resume(agent: Agent) -> None:
    """Raises Refused `agent-not-suspended`."""
    if not agent.suspended:
        raise Refused("agent-not-suspended", "this agent is not suspended")


def check_register(event: AgentRegistered) -> None:
    """Raises InvalidEvent for a schema that is not known."""
    if event.answer_schema not in SCHEMAS:
        raise InvalidEvent("answer_schema", f"not one of {', '.join(sorted(SCHEMAS))}")
