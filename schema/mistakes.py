"""Commands that take something back, and the events that record them: nothing is deleted, a later event says so.

The reasons are a fixed list, and none of them says anything about the model: whoever thinks that the model was wrong
rejects its answer, with a reason code (ledger/domain/reasons.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from schema.event_base import Event
from schema.fields import Position, Rationale, Sealed

WithdrawalReason = Literal["data-entry-error", "client-changed-mind", "duplicate", "circumstances-changed", "other"]


class _TakeBack(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    reason_code: WithdrawalReason
    rationale: Annotated[Rationale | None, Sealed()] = None


class WithdrawRequest(_TakeBack):
    """A person withdraws a request. `replaced_by` is the number of the request that was made in its place."""

    replaced_by: Position | None = None


class WithdrawDecision(_TakeBack):
    """The person who decided takes the decision back while it waits for a confirmation."""


class RevokeDecision(_TakeBack):
    """A person takes a decision in force back. The client was not told."""

    rationale: Annotated[Rationale, Sealed()]


class RequestWithdrawn(WithdrawRequest, Event):
    """The request is withdrawn: it takes no answer and no decision. A decision that waits is withdrawn with it."""

    type = "request.withdrawn"
    schema_version = 1


class _OfDecision(Event):
    """An event about one decision on the recommendation."""

    recommendation_id: Position
    decision_id: Position


class DecisionWithdrawn(WithdrawDecision, _OfDecision):
    """The decision that waited is withdrawn: the recommendation is proposed again."""

    type = "decision.withdrawn"
    schema_version = 1


class DecisionRevoked(RevokeDecision, _OfDecision):
    """The decision is no longer in force: the recommendation is proposed again."""

    type = "decision.revoked"
    schema_version = 1


class DecisionExpired(_OfDecision):
    """Nobody confirmed the decision in the time that the policy gave: the recommendation is proposed again."""

    type = "decision.expired"
    schema_version = 1


MISTAKE_EVENTS = (RequestWithdrawn, DecisionWithdrawn, DecisionRevoked, DecisionExpired)
