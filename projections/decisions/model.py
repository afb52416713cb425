"""Decisions about recommendations, and their confirmations: one row for each decision."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, JsonValue

from projections.read_model import ReadModel, any_of, changing, fixed, of_amount, of_client, within
from schema.events import ConfirmationOutcome, Disposition, Outcome, WithdrawalReason
from schema.fields import Digest, RiskProfile
from schema.states import DecisionState


class DecisionSummary(BaseModel):
    """A decision and its confirmation, without contents and texts."""

    id: int
    recommendation_id: int
    request_id: int
    client_id: str | None
    requested_by: str | None
    risk_profile: RiskProfile | None
    amount_usd: Decimal | None
    outcome: Outcome
    state: DecisionState
    digest: Digest
    reason_code: str | None
    reason_group: str | None
    replacement_digest: Digest | None
    decided_by: str
    decided_role: str
    opened_at: datetime | None
    created_at: datetime
    seconds_to_decide: Decimal
    needs_second: bool
    second_rules: list[str]
    confirm_by: datetime | None
    confirmation: ConfirmationOutcome | None
    confirmed_by: str | None
    confirmed_role: str | None
    second_opened_at: datetime | None
    confirmed_at: datetime | None
    seconds_to_confirm: Decimal | None
    end_id: int | None
    ended_by: str | None
    ended_at: datetime | None
    end_reason: WithdrawalReason | None
    earlier_declines: int
    decline_id: int | None
    declined_by: str | None
    declined_at: datetime | None
    review_id: int | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    disposition: Disposition | None
    samples: int
    findings: int
    open_findings: int
    communicated_at: datetime | None
    four_eyes_version: str
    reason_codes_version: str | None
    model_name: str
    model_version: str | None
    agent: str


class Decision(DecisionSummary):
    """A decision and its confirmation. Sealed values that were erased are null."""

    rationale: str | None
    replacement: dict[str, JsonValue] | None
    response: str | None
    second_rationale: str | None
    end_rationale: str | None
    decline_rationale: str | None
    review_note: str | None


class ShownDecision(Decision):
    """A decision as routes serve it: with the salt that opens `replacement_digest`."""

    salts: dict[str, str]


DECISIONS = ReadModel(
    Path(__file__).parent,
    Decision,
    {
        **of_client(),
        **fixed("request_id", "recommendation_id", "outcome", "decided_by", "agent", "reason_code"),
        **fixed("requested_by", "risk_profile"),
        **of_amount(),
        **any_of("state"),
        **within("created_at", "decided"),
        **within("communicated_at", "communicated", changing=True),
        **changing("disposition"),
    },
    # The fold also names the events before a decision; those alone make no row.
    made_by=(
        "recommendation.decided",
        "recommendation.confirmed",
        "recommendation.communicated",
        "decision.withdrawn",
        "decision.revoked",
        "decision.expired",
        "request.withdrawn",
        "case.reviewed",
        "review.assigned",
        "finding.opened",
        "finding.closed",
    ),
    request_column="request_id",
    summary=DecisionSummary,
)
