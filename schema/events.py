"""The catalogue: every type of event that may be recorded, with its version.

A type never changes its meaning. A changed shape is a new `schema` number of the same type, and readers keep
understanding the old ones, because what is recorded stays as it is.

`docs/formats/events.md` tells the life of a request in these events.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schema.calls import CallFault, CallResult, CallStart, ModelCallCompleted, ModelCallFailed, ModelCallStarted, Shown
from schema.decisions import (
    Channel,
    Communicate,
    Confirm,
    ConfirmationOutcome,
    Decide,
    Open,
    Outcome,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
)
from schema.event import Event
from schema.fields import (
    ClientId,
    Code,
    Constraints,
    Count,
    Digest,
    FreeText,
    JsonObject,
    Money,
    Name,
    NoteSignature,
    Objectives,
    Position,
    Rationale,
    RiskProfile,
    Sealed,
    VerifierKeyText,
)

# Other packages import events from this module alone; which module of this package defines them may change.
__all__ = [
    "CATALOGUE",
    "AgentRegistered",
    "AgentResumed",
    "AgentSuspended",
    "CallFault",
    "CallResult",
    "CallStart",
    "Channel",
    "Communicate",
    "Confirm",
    "ConfirmationOutcome",
    "Decide",
    "Event",
    "LogKeyRotated",
    "ModelCallCompleted",
    "ModelCallFailed",
    "ModelCallStarted",
    "Open",
    "Outcome",
    "PolicyAdopted",
    "PortfolioRequested",
    "RecommendationCommunicated",
    "RecommendationConfirmed",
    "RecommendationDecided",
    "RecommendationOpened",
    "RecommendationRecorded",
    "RecommendationReplayed",
    "RequestFailed",
    "Shown",
    "VerificationRecorded",
]

# --- in the stream of a request: what was asked, and what an agent answered ------------------------------------------


class PortfolioRequested(Event):
    """An advisor asks for a recommendation for a client's money. Opens the stream `request-N`."""

    type = "portfolio.requested"
    schema_version = 1

    client_id: Annotated[ClientId, Sealed()]
    risk_profile: RiskProfile
    amount_usd: Money
    horizon_years: Annotated[int, Field(strict=True, ge=1, le=60)] | None = None
    objectives: Annotated[Objectives | None, Sealed()] = None
    constraints: Constraints | None = None
    notes: Annotated[FreeText | None, Sealed()] = None


class RecommendationRecorded(Event):
    """What an agent answered. Its ledger position is the recommendation's id."""

    type = "recommendation.recorded"
    schema_version = 1

    recommendation: Annotated[JsonObject, Sealed()]
    model_name: Name
    model_version: Name | None = None
    parameters: JsonObject | None = None
    prompt: Annotated[str | None, Sealed()] = None
    # The completed call that the answer came from.
    model_call_id: Position | None = None
    # The recommendation of the same request whose place it takes.
    supersedes: Position | None = None


class RequestFailed(Event):
    """No recommendation will come: why, in a short code, and in words."""

    type = "request.failed"
    schema_version = 1

    reason: Code
    detail: Annotated[FreeText | None, Sealed()] = None


class RecommendationReplayed(Event):
    """Somebody ran the recorded agent again on what it had seen, and compared. The answer itself is not kept."""

    type = "recommendation.replayed"
    schema_version = 1

    recommendation_id: Position
    as_of: Position | None = None
    agent_version: Name
    outcome: Literal["identical", "different", "failed"]


# --- in streams of their own ------------------------------------------------------------------------------------------


class AgentRegistered(Event):
    """What an agent's answers have to look like from here on. In the stream `agent-NAME`."""

    type = "agent.registered"
    schema_version = 1

    answer_schema: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,49}/v[0-9]{1,3}$")]


class AgentSuspended(Event):
    """Nothing more is taken from this agent until it is resumed."""

    type = "agent.suspended"
    schema_version = 1

    reason: Annotated[Rationale, Sealed()]


class AgentResumed(Event):
    """The agent may go on."""

    type = "agent.resumed"
    schema_version = 1

    reason: Annotated[Rationale, Sealed()]


class PolicyAdopted(Event):
    """The whole text of a policy, before the first decision that it bears on. In the stream `policy-NAME`."""

    type = "policy.adopted"
    schema_version = 1

    version: Name
    sha256: Digest
    policy: JsonObject


class LogKeyRotated(Event):
    """The log is signed by another key from here on, as both keys say. In the stream `policy-log-key`.

    Statement and signatures are those of a signed note (docs/operate/tlog.md, Changing the key).
    """

    type = "log-key.rotated"
    schema_version = 1

    old: VerifierKeyText
    new: VerifierKeyText
    statement: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    old_signature: NoteSignature
    new_signature: NoteSignature


class VerificationRecorded(Event):
    """This program checked its own chain: what it covered and found. In the stream `verification-YYYY-MM-DD`."""

    type = "verification.recorded"
    schema_version = 1

    first_position: Position
    last_position: Position
    # The newest checkpoint whose root the events have; 0 where there is none.
    checkpoint_size: Count
    result: Literal["good", "bad"]
    # Of a bad one: the name of what is wrong, and where; 0 for what is in no event.
    finding: Code | None = None
    first_bad_position: Count | None = None
    duration_s: Count
    events_per_s: Count


CATALOGUE: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        PortfolioRequested,
        ModelCallStarted,
        ModelCallCompleted,
        ModelCallFailed,
        RecommendationRecorded,
        RequestFailed,
        RecommendationOpened,
        RecommendationDecided,
        RecommendationConfirmed,
        RecommendationCommunicated,
        RecommendationReplayed,
        AgentRegistered,
        AgentSuspended,
        AgentResumed,
        PolicyAdopted,
        LogKeyRotated,
        VerificationRecorded,
    )
}
