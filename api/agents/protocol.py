"""How the worker asks an agent, and what it gets back. An agent holds no database handle, credential or clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

JSON: TypeAlias = "bool | int | str | list[JSON] | dict[str, JSON] | None"
"""What an answer may hold. No floats: numbers that matter are decimal strings, as everywhere in the ledger."""


class AgentRefused(Exception):
    """The agent will not answer this request, and asking again would not change that.

    `reason` is a short kebab-case code that may be recorded in clear; the message is for people and may quote the
    request.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class AgentRequest:
    """One queued portfolio request, without the client's identity."""

    request_id: int
    risk_profile: str
    amount_usd: Decimal
    horizon_years: int | None = None
    objectives: tuple[str, ...] = ()
    constraints: Mapping[str, object] = field(default_factory=dict)
    notes: str | None = None


@dataclass(frozen=True)
class AgentAnswer:
    """What is recorded: the answer, and what would be needed to ask the same model the same thing again."""

    recommendation: dict[str, JSON]
    model_name: str
    model_version: str
    parameters: dict[str, JSON]
    prompt: str | None = None


class Agent(Protocol):
    """Answers one request at a time; may be called from several threads."""

    name: str
    version: str

    def recommend(self, request: AgentRequest) -> AgentAnswer:
        """Return an answer or raise AgentRefused. Any other exception is a fault of the agent, not of the request."""
        ...
