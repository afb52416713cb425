"""Commands about recommendations, and the events that record them.

Each command has a class with the members that its caller sends. Its event class adds those that the ledger sets.
`digest` is always a commitment from the chain: `sealed.recommendation` of a recommendation, or `sealed.replacement` of
the decision that edited it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schema.event_base import Event
from schema.fields import Code, Digest, FreeText, JsonObject, Name, Position, Rationale, Sealed

Outcome = Literal["approve", "edit", "reject", "respond"]
ConfirmationOutcome = Literal["approve", "decline"]
Channel = Literal["meeting", "phone", "video", "letter", "email", "portal", "other"]


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Open(_Command):
    """A person has this content before them."""

    digest: Digest


class Decide(_Command):
    """A person approves, edits, rejects or responds. `digest` is that of the recommendation as the agent gave it."""

    digest: Digest
    outcome: Outcome
    reason_code: Code | None = None
    rationale: Annotated[Rationale | None, Sealed()] = None
    replacement: Annotated[JsonObject | None, Sealed()] = None
    response: Annotated[Rationale | None, Sealed()] = None


class Confirm(_Command):
    """The confirmer approves or declines a decision. `digest` is that of the content to take effect."""

    digest: Digest
    outcome: ConfirmationOutcome
    rationale: Annotated[Rationale | None, Sealed()] = None


class Communicate(_Command):
    """The client was told. `digest` is that of the content which the client was told."""

    digest: Digest
    channel: Channel
    message: Annotated[FreeText | None, Sealed()] = None


class RecommendationOpened(Open, Event):
    """A person has opened this content."""

    type = "recommendation.opened"
    schema_version = 1

    recommendation_id: Position


class RecommendationDecided(Decide, Event):
    """A person approves, edits, rejects, or responds with a remark that the agent must take into account.

    Its ledger position is the decision's id. If `needs_second` is true, the decision waits for a confirmation.
    """

    type = "recommendation.decided"
    schema_version = 1

    recommendation_id: Position
    # The group of `reason_code` in the list in force: whether the model was wrong, or could not know.
    reason_group: Code | None = None
    reason_codes_version: Name | None = None
    needs_second: bool
    # The rules of the four-eyes policy that require a confirmation.
    second_rules: Annotated[list[Code], Field(max_length=100)]
    four_eyes_version: Name
    # A decision that waits expires after these hours; without them it waits for as long as it takes.
    confirm_within_hours: Annotated[int, Field(strict=True, ge=1, le=87_600)] | None = None


class RecommendationConfirmed(Confirm, Event):
    """The confirmer approves or declines a decision that waits."""

    type = "recommendation.confirmed"
    schema_version = 1

    recommendation_id: Position
    decision_id: Position
    # The version of the policy that said who may confirm. Optional, because early events do not have it.
    four_eyes_version: Name | None = None


class RecommendationCommunicated(Communicate, Event):
    """The client was told."""

    type = "recommendation.communicated"
    schema_version = 1

    recommendation_id: Position
