"""Recommendations: one row for each, with what people did with it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, JsonValue

from projections.read_model import ReadModel, any_of, changing, fixed, of_amount, of_client, within
from schema.events import Outcome
from schema.fields import Digest, RiskProfile
from schema.states import RecommendationState


class RecommendationSummary(BaseModel):
    """A recommendation and what people did with it, without contents and texts.

    `digest` is the commitment to the content in force: send it to decide or to communicate.
    """

    id: int
    request_id: int
    client_id: str | None
    requested_by: str | None
    risk_profile: RiskProfile | None
    amount_usd: Decimal | None
    model_name: str
    model_version: str | None
    agent: str
    created_at: datetime
    state: RecommendationState
    digest: Digest
    model_call_id: int | None
    supersedes: int | None
    superseded_by: int | None
    opened_at: datetime | None
    opened_by: str | None
    decision_id: int | None
    outcome: Outcome | None
    decided_by: str | None
    decided_at: datetime | None
    reason_code: str | None
    reason_group: str | None
    replacement_digest: Digest | None
    needs_second: bool | None
    second_rules: list[str] | None
    confirmed_by: str | None
    confirmed_at: datetime | None
    declines: int
    decline_id: int | None
    declined_by: str | None
    declined_at: datetime | None
    communicated_at: datetime | None
    communicated_by: str | None
    channel: str | None
    communicated_digest: Digest | None
    updated_at: datetime


class Recommendation(RecommendationSummary):
    """A recommendation as the agent gave it, and what people did with it.

    `recommendation` is the content before an edit, `replacement` after it. `digest` is the commitment to the content in
    force: send it to decide or to communicate. Sealed values that were erased are null.
    """

    recommendation: dict[str, JsonValue] | None
    parameters: dict[str, JsonValue] | None
    prompt: str | None
    rationale: str | None
    replacement: dict[str, JsonValue] | None
    response: str | None
    decline_rationale: str | None
    message: str | None


class ShownRecommendation(Recommendation):
    """A recommendation as routes serve it: with the salts that open the digests of its contents.

    SHA-256("advice-ledger/sealed/v1\\n" || salt || canonical JSON of [name, content]) is the digest; the name is
    `recommendation` or `replacement`. Erased contents have no salt.
    """

    salts: dict[str, str]


AI_RECOMMENDATIONS = ReadModel(
    Path(__file__).parent,
    Recommendation,
    {
        **of_client(),
        **fixed("request_id", "model_name", "requested_by", "risk_profile"),
        **of_amount(),
        **any_of("state"),
        **changing("decided_by", "reason_code"),
        **within("decided_at", "decided", changing=True),
        **within("communicated_at", "communicated", changing=True),
    },
    # The fold also names the request; that alone makes no row.
    made_by=(
        "recommendation.recorded",
        "recommendation.opened",
        "recommendation.decided",
        "recommendation.confirmed",
        "recommendation.communicated",
        "decision.withdrawn",
        "decision.revoked",
        "decision.expired",
        "request.withdrawn",
    ),
    request_column="request_id",
    summary=RecommendationSummary,
)
