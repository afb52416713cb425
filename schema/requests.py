"""Events of a request itself, in the stream `request-N`: asked, answered, failed, and the replay of an answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from schema.clients import ClientNumber
from schema.event_base import Event
from schema.fields import (
    ClientId,
    Code,
    Constraints,
    FreeText,
    Horizon,
    JsonObject,
    Money,
    Name,
    Objectives,
    Position,
    RiskProfile,
    Sealed,
)
from schema.portfolios import PortfolioName


class RequestPortfolio(BaseModel):
    """A request of an advisor: a recommendation for a client's money."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: Annotated[ClientId, Sealed()]
    risk_profile: RiskProfile
    amount_usd: Money
    horizon_years: Horizon | None = None
    objectives: Annotated[Objectives | None, Sealed()] = None
    constraints: Constraints | None = None
    notes: Annotated[FreeText | None, Sealed()] = None


class PortfolioRequested(RequestPortfolio, Event):
    """An advisor requests a recommendation for a client's money. Opens the stream `request-N`."""

    type = "portfolio.requested"
    schema_version = 1

    # The number under which the identifier is registered: in the stream `client-N`. Older requests have none.
    client: ClientNumber | None = None
    # The portfolio to rebalance, if monitoring asks for it.
    portfolio: PortfolioName | None = None


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
