"""How the worker asks an agent, and what it gets back. An agent holds no database handle and no credential of ours.

In two steps, so that what the model is about to be shown is on record before it is shown: `prepare` says what will be
asked, the worker records it, `answer` asks. A replay takes the same two steps on what was known then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

from schema.events import CallResult, CallStart, Shown

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


# Reasons of AgentUnavailable that say nothing of the request: no other would fare better now, and this one may later.
OUTAGES = frozenset({"unreachable", "timeout", "rate-limited", "provider-error", "provider-refused"})


class AgentUnavailable(Exception):
    """The model could not be reached, or gave nothing usable: asking again may help. `reason` as of AgentRefused.

    `retry_after_s`: how long the provider asked to be left alone, where it did.
    """

    def __init__(self, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Earlier:
    """An earlier recommendation for the same client, and what people made of it, as it stood at `as_of`.

    `id` and `decision_id` are ledger positions; the decision's members are None where there was none.
    """

    id: int
    request_id: int
    recommendation: dict[str, object] | None
    model_name: str
    model_version: str | None
    state: str
    decision_id: int | None = None
    outcome: str | None = None
    reason_code: str | None = None
    rationale: str | None = None
    replacement: dict[str, object] | None = None
    response: str | None = None


@dataclass(frozen=True)
class AgentRequest:
    """One queued portfolio request, without the client's identity, and the client's history, the newest first.

    `as_of` is the ledger position up to which all of it was read; None where no ledger was read.
    """

    request_id: int
    risk_profile: str
    amount_usd: Decimal
    horizon_years: int | None = None
    objectives: tuple[str, ...] = ()
    constraints: Mapping[str, object] = field(default_factory=dict)
    notes: str | None = None
    earlier: tuple[Earlier, ...] = ()
    as_of: int | None = None


@dataclass(frozen=True)
class AgentAnswer:
    """The answer, what would be needed to ask the same model again, and what the model itself gave back.

    If `result` has no `output_messages`, the model gave back nothing but the recommendation.
    """

    recommendation: dict[str, JSON]
    model_name: str
    model_version: str
    parameters: dict[str, JSON]
    prompt: str | None = None
    result: CallResult = field(default_factory=CallResult)

    @property
    def completed(self) -> CallResult:
        """The result to record with the end of the call."""
        if self.result.output_messages is not None:
            return self.result
        return self.result.model_copy(update={"output_messages": self.recommendation})


class Agent(Protocol):
    """Answers one request at a time; may be called from several threads.

    `answer_schema` is what the agent's answers have to look like (ledger/domain/answer_schemas.py). `deterministic`: the
    same version gives the same answer to the same call, bit for bit. `timeout_s`: `answer` is given up after so long.
    """

    name: str
    version: str
    answer_schema: str
    deterministic: bool
    timeout_s: float

    def prepare(self, request: AgentRequest) -> CallStart:
        """Return what the model will be asked, without input or output. Raises AgentRefused.

        `shown` lists only what the agent retrieved by itself: `prepared_call` adds the rest.
        """
        ...

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:
        """Ask the model what `call` says. Raises AgentRefused or AgentUnavailable; others are faults of the agent."""
        ...


def prepared_call(agent: Agent, request: AgentRequest) -> CallStart:
    """Return the call as it is recorded: the agent's own, with its version and all that it was shown of the ledger."""
    call = agent.prepare(request)
    added = {"agent_version": agent.version, "as_of": request.as_of, "shown": [*shown_of(request), *call.shown]}
    return CallStart.model_validate({**dict(call), **added})


def shown_of(request: AgentRequest) -> list[Shown]:
    """List the request, the earlier recommendations and their decisions, which the agent was given."""
    shown = [Shown(kind="request", id=str(request.request_id))]
    for earlier in request.earlier:
        shown.append(Shown(kind="recommendation", id=str(earlier.id)))
        if earlier.decision_id is not None:
            shown.append(Shown(kind="decision", id=str(earlier.decision_id)))
    return shown
