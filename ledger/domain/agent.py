"""The state of an agent: its answer schema, from its stream `agent-NAME`, and whether the subject NAME is suspended.

    running --subject.suspended--> suspended --subject.resumed--> running

NAME is the id of the actor whose credentials the agent uses, so an agent cannot act under another agent's name. Earlier
versions recorded suspensions in `agent-NAME`, as `agent.suspended` and `agent.resumed`; they keep their effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ledger.domain import subject
from ledger.domain.answer_schemas import ANY, SCHEMAS
from ledger.domain.history import RecordedEvent
from ledger.errors import InvalidEvent, Refused
from schema.events import AgentRegistered

CATEGORY = "agent-"

# The agents that the server runs itself. They act without a token, so no token may have one of these names.
RESERVED = frozenset({"builtin-model-portfolios", "openai-compatible", "skfolio-optimiser"})


@dataclass(frozen=True)
class Agent:
    """`version` and `subject_version` are those of the last events of `agent-NAME` and `subject-NAME`.

    An agent without a registered schema may answer anything.
    """

    suspended: bool = False
    registered: str | None = None
    version: int = 0
    # True if the subject NAME is registered.
    known: bool = False
    subject_version: int = 0

    @property
    def answer_schema(self) -> str:
        """The name of the schema that its answers must follow."""
        return self.registered or ANY


def stream_of(name: str) -> str:
    """Return the name of an agent's own stream."""
    return f"{CATEGORY}{name}"


def fold(history: Sequence[RecordedEvent], of_subject: Sequence[RecordedEvent] = ()) -> Agent:
    """Return the state after the events of both streams, each in order.

    A schema that this version does not know is left out. Raises StreamUnreadable.
    """
    state = subject.fold(of_subject, history)
    agent = Agent(state.suspended, known=state.kind is not None, subject_version=state.version)
    for event in history:
        if event.type == "agent.registered":
            schema = event.data.get("answer_schema")
            if isinstance(schema, str) and schema in SCHEMAS:
                agent = replace(agent, registered=schema)
        agent = replace(agent, version=event.version)
    return agent


def check_running(agent: Agent) -> None:
    """Raise Refused `agent-suspended` if the agent is suspended: it starts, answers and fails nothing."""
    if agent.suspended:
        raise Refused("agent-suspended", "this agent is suspended until somebody resumes it")


def check_register(event: AgentRegistered) -> None:
    """Raise InvalidEvent if the answer schema is unknown."""
    if event.answer_schema not in SCHEMAS:
        raise InvalidEvent("answer_schema", f"must be one of {', '.join(sorted(SCHEMAS))}")
