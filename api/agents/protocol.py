"""Define the protocol between the worker and an agent. An agent has no database connection and no credential of the
ledger.

It answers in two steps: `prepare` returns the call to the model, the worker records it, and `answer` makes it. The
record therefore exists before the model sees anything. A replay takes the same two steps on the data of that time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeAlias

from schema.events import CallResult, CallStart, Shown

JSON: TypeAlias = "bool | int | str | list[JSON] | dict[str, JSON] | None"
"""The JSON of an answer, without floats: the ledger holds exact numbers as decimal strings."""


class AgentRefused(Exception):
    """The agent does not answer this request, and a retry would not change that.

    `reason` is a short kebab-case code, recorded in clear. The message is for people and may quote the request.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


# Reasons of AgentUnavailable that concern the model, not the request: a later attempt may succeed.
OUTAGES = frozenset({"unreachable", "timeout", "rate-limited", "provider-error", "provider-refused"})


class AgentUnavailable(Exception):
    """The model cannot be reached, or its answer is unusable. A retry may succeed. `reason` as in AgentRefused.

    `retry_after_s` is the wait in seconds that the provider asks for, if it does.
    """

    def __init__(self, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Earlier:
    """An earlier recommendation for the same client, with the decision on it, as of the request's `as_of`.

    `id` and `decision_id` are ledger positions. The decision's members are None if nobody has decided.
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

    `as_of` is the ledger position up to which it was read; None if it was not read from a ledger.
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
    """The recommendation, the model and parameters to ask it again, and the model's own result.

    If `result` has no `output_messages`, the recommendation is the model's whole output.
    """

    recommendation: dict[str, JSON]
    model_name: str
    model_version: str
    parameters: dict[str, JSON]
    prompt: str | None = None
    result: CallResult = field(default_factory=CallResult)

    @property
    def completed(self) -> CallResult:
        """Return the result to record with the end of the call."""
        if self.result.output_messages is not None:
            return self.result
        return self.result.model_copy(update={"output_messages": self.recommendation})


class Agent(Protocol):
    """Answers one request at a time, and may be called from several threads.

    `answer_schema` names the schema that its answers must satisfy (ledger/domain/answer_schemas.py). `deterministic`
    means that the same version gives the same answer to the same call, bit for bit, and waits for nothing: while its
    calls are short they run in the event loop. Other calls run in a thread and are abandoned after `timeout_s`.
    """

    name: str
    version: str
    answer_schema: str
    deterministic: bool
    timeout_s: float

    def prepare(self, request: AgentRequest) -> CallStart:
        """Return the model's input, without asking the model. Raises AgentRefused.

        `shown` lists only what the agent retrieved by itself: `prepared_call` adds the rest.
        """
        ...

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:
        """Ask the model what `call` says.

        Raises AgentRefused or AgentUnavailable; other exceptions are errors of the agent.
        """
        ...


def prepared_call(agent: Agent, request: AgentRequest) -> CallStart:
    """Return the call as it is recorded: the agent's own, with its version and all data of the ledger that it was
    shown."""
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
