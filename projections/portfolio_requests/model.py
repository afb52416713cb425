"""Requests for a recommendation: one row for each."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, any_of, fixed, of_amount, of_client
from schema.events import WithdrawalReason
from schema.fields import Constraints, RiskProfile
from schema.states import RequestState


class RequestSummary(BaseModel):
    """A request and its status, without texts."""

    id: int
    client_id: str | None
    risk_profile: RiskProfile
    amount_usd: Decimal
    horizon_years: int | None
    portfolio: str | None
    status: RequestState
    recommendation_id: int | None
    failure_reason: str | None
    withdrawal_id: int | None
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    withdrawal_reason: WithdrawalReason | None
    replaced_by: int | None
    requested_by: str
    imported: bool
    created_at: datetime
    updated_at: datetime


class PortfolioRequest(RequestSummary):
    """A request and its status. Sealed values that were erased are null."""

    objectives: list[str] | None
    constraints: Constraints | None
    notes: str | None
    failure_detail: str | None
    withdrawal_rationale: str | None


PORTFOLIO_REQUESTS = ReadModel(
    Path(__file__).parent,
    PortfolioRequest,
    {**of_client(), **fixed("risk_profile", "requested_by", "portfolio"), **of_amount(), **any_of("status")},
    request_column="id",
    summary=RequestSummary,
)
