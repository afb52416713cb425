"""Decisions about recommendations, and their confirmations: one row for each decision."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, JsonValue

from projections.read_model import ReadModel, changing, fixed
from schema.events import ConfirmationOutcome, Outcome
from schema.fields import Digest
from schema.states import DecisionState


class Decision(BaseModel):
    """A decision and its confirmation. Sealed values that were erased are null."""

    id: int
    recommendation_id: int
    request_id: int
    client_id: str | None
    outcome: Outcome
    state: DecisionState
    digest: Digest
    reason_code: str | None
    reason_group: str | None
    rationale: str | None
    replacement: dict[str, JsonValue] | None
    replacement_digest: Digest | None
    response: str | None
    decided_by: str
    decided_role: str
    opened_at: datetime | None
    created_at: datetime
    seconds_to_decide: Decimal
    needs_second: bool
    second_rules: list[str]
    confirmation: ConfirmationOutcome | None
    confirmed_by: str | None
    confirmed_role: str | None
    second_opened_at: datetime | None
    confirmed_at: datetime | None
    seconds_to_confirm: Decimal | None
    second_rationale: str | None
    four_eyes_version: str
    reason_codes_version: str | None
    model_name: str
    model_version: str | None
    agent: str
    amount_usd: Decimal | None


class ShownDecision(Decision):
    """A decision as routes serve it: with the salt that opens `replacement_digest`."""

    salts: dict[str, str]


DECISIONS = ReadModel(
    Path(__file__).parent,
    Decision,
    {**fixed("client_id", "request_id", "recommendation_id", "outcome", "decided_by", "agent"), **changing("state")},
    # The fold also names the events before a decision; those alone make no row.
    made_by=("recommendation.decided", "recommendation.confirmed"),
)
