"""The state of an agent, from its own stream `agent-NAME`: its answer schema, and whether it is suspended.

    running --agent.suspended--> suspended --agent.resumed--> running

NAME is the id of the actor whose credentials the agent uses, so an agent cannot act under another agent's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ledger.domain.answer_schemas import ANY, SCHEMAS
from ledger.domain.history import RecordedEvent
from ledger.errors import InvalidEvent, Refused
from schema.events import AgentRegistered

CATEGORY = "agent-"

# The agents that the server runs itself. They act without a token, so no token may have one of these names.
RESERVED = frozenset({"builtin-model-portfolios", "openai-compatible", "skfolio-optimiser"})


@dataclass(frozen=True)
class Agent:
    """`version` is that of the stream's last event. An agent without a registered schema may answer anything."""

    suspended: bool = False
    registered: str | None = None
    version: int = 0

    @property
    def answer_schema(self) -> str:
        """The name of the schema that its answers must follow."""
        return self.registered or ANY


def stream_of(name: str) -> str:
    """Return the name of an agent's own stream."""
    return f"{CATEGORY}{name}"


def fold(history: Iterable[RecordedEvent]) -> Agent:
    """Return the state after the events of a stream, in order. A schema that this version does not know is left out."""
    agent = Agent()
    for event in history:
        match event.type:
            case "agent.registered":
                schema = event.data.get("answer_schema")
                if isinstance(schema, str) and schema in SCHEMAS:
                    agent = replace(agent, registered=schema)
            case "agent.suspended":
                agent = replace(agent, suspended=True)
            case "agent.resumed":
                agent = replace(agent, suspended=False)
        agent = replace(agent, version=event.version)
    return agent


def check_running(agent: Agent) -> None:
    """Raise Refused `agent-suspended` if nothing may be taken from the agent now."""
    if agent.suspended:
        raise Refused(
            "agent-suspended", "this agent is suspended: the ledger takes nothing from it until it is resumed"
        )


def check_suspend(agent: Agent) -> None:
    """Raise Refused `agent-suspended` if the agent is already suspended."""
    if agent.suspended:
        raise Refused("agent-suspended", "this agent is already suspended")


def check_resume(agent: Agent) -> None:
    """Raise Refused `agent-not-suspended` if the agent is running."""
    if not agent.suspended:
        raise Refused("agent-not-suspended", "this agent is not suspended")


def check_register(event: AgentRegistered) -> None:
    """Raise InvalidEvent if the answer schema is unknown."""
    if event.answer_schema not in SCHEMAS:
        raise InvalidEvent("answer_schema", f"must be one of {', '.join(sorted(SCHEMAS))}")
