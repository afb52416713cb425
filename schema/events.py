"""The catalogue: every type of event that may be recorded, with its version.

A type never changes its meaning. A version may get further optional members; any other changed shape gets a new
`schema` number of the same type. Readers must support the old numbers forever, because recorded events do not change.

The body of a command is the event class itself if the caller may send all of its members. `RecommendationRecorded` is
one: if the caller leaves out `supersedes`, the ledger sets it. If the ledger alone sets a member, the body is a base
class without that member: `CallStart`, `CallResult`, `CallFault`, `Open`, `Decide`, `Confirm`, `Communicate`.

docs/formats/events.md describes the life of a request in these events.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schema.calls import (
    CallFault,
    CallResult,
    CallStart,
    ModelCallCompleted,
    ModelCallContentJoined,
    ModelCallContentRecorded,
    ModelCallFailed,
    ModelCallStarted,
    Shown,
)
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
from schema.event_base import Event
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
    "ModelCallContentJoined",
    "ModelCallContentRecorded",
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
    "StreamHeadsRecorded",
    "VerificationRecorded",
]

# --- in the stream of a request --------------------------------------------------------------------------------------


class PortfolioRequested(Event):
    """An advisor requests a recommendation for a client's money. Opens the stream `request-N`."""

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
    """An agent's answer to a request. Its ledger position is the recommendation's id."""

    type = "recommendation.recorded"
    schema_version = 1

    recommendation: Annotated[JsonObject, Sealed()]
    model_name: Name
    model_version: Name | None = None
    parameters: JsonObject | None = None
    prompt: Annotated[str | None, Sealed()] = None
    # The completed model call that the answer came from.
    model_call_id: Position | None = None
    # The recommendation of the same request that this one supersedes.
    supersedes: Position | None = None


class RequestFailed(Event):
    """The request gets no recommendation. `reason` is a short code, `detail` is text."""

    type = "request.failed"
    schema_version = 1

    reason: Code
    detail: Annotated[FreeText | None, Sealed()] = None


class RecommendationReplayed(Event):
    """The recorded agent was run again on the same input, and its answer compared. The new answer is not kept."""

    type = "recommendation.replayed"
    schema_version = 1

    recommendation_id: Position
    as_of: Position | None = None
    agent_version: Name
    outcome: Literal["identical", "different", "failed"]


# --- in streams of their own ------------------------------------------------------------------------------------------


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


class LogKeyRotated(Event):
    """Another key signs the transparency log from now on; both keys sign this. In the stream `policy-log-key`.

    Statement and signatures form a signed note (docs/operate/tlog.md, Changing the key).
    """

    type = "log-key.rotated"
    schema_version = 1

    old: VerifierKeyText
    new: VerifierKeyText
    statement: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    old_signature: NoteSignature
    new_signature: NoteSignature


class LogCheckpointAdopted(Event):
    """A person decided from which checkpoint the signer goes on. In the stream `policy-log-checkpoint`.

    What was signed after it, if that is known, is given up: its events are lost for good.
    """

    type = "log-checkpoint.adopted"
    schema_version = 1

    size: Position
    root: Digest
    # The checkpoint that is given up; absent if the database continues all that was signed, or nobody knows.
    given_up_size: Position | None = None
    given_up_root: Digest | None = None
    reason: Annotated[Rationale, Sealed()]


class VerificationRecorded(Event):
    """The result of one scan of continuous verification. In the stream `verification-YYYY-MM-DD`."""

    type = "verification.recorded"
    schema_version = 1

    first_position: Position
    last_position: Position
    # The size of the newest checkpoint whose root matches the events; 0 if no checkpoint does.
    checkpoint_size: Count
    result: Literal["good", "bad"]
    # If the result is bad: the kind of the first finding, and its position; 0 if it is in no event.
    finding: Code | None = None
    first_bad_position: Count | None = None
    duration_s: Count
    events_per_s: Count


class StreamHeadsRecorded(Event):
    """Where each stream ended, and which streams each client had, as of a position. In the stream `stream-heads`.

    `root` is that of a tree over them (docs/formats/bundle.md, section 11). `blinding` is the secret of that tree: with
    it one can try out, on the proof in a bundle, which other clients there are.
    """

    type = "stream-heads.recorded"
    schema_version = 1

    as_of: Position
    root: Digest
    blinding: Annotated[Digest, Sealed()]


CATALOGUE: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        PortfolioRequested,
        ModelCallStarted,
        ModelCallCompleted,
        ModelCallFailed,
        ModelCallContentRecorded,
        ModelCallContentJoined,
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
        LogCheckpointAdopted,
        VerificationRecorded,
        StreamHeadsRecorded,
    )
}
