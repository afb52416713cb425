"""Events about agents and policies, each in a stream of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from schema.event_base import Event
from schema.fields import Digest, JsonObject, Name, Rationale, Sealed


class AgentRegistered(Event):
    """The schema that an agent's answers must follow from now on. In the stream `agent-NAME`."""

    type = "agent.registered"
    schema_version = 1

    answer_schema: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,49}/v[0-9]{1,3}$")]


class AgentSuspended(Event):
    """The ledger takes nothing from this agent until it is resumed."""

    type = "agent.suspended"
    schema_version = 1

    reason: Annotated[Rationale, Sealed()]


class AgentResumed(Event):
    """The suspension of an agent ends."""

    type = "agent.resumed"
    schema_version = 1

    reason: Annotated[Rationale, Sealed()]


class PolicyAdopted(Event):
    """The whole text of a policy, recorded before the first decision under it. In the stream `policy-NAME`."""

    type = "policy.adopted"
    schema_version = 1

    version: Name
    sha256: Digest
    policy: JsonObject


AGENT_EVENTS = (AgentRegistered, AgentSuspended, AgentResumed, PolicyAdopted)
