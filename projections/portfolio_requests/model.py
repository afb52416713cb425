"""Requests for a recommendation: one row for each."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed
from schema.fields import Constraints, RiskProfile
from schema.states import RequestState


class PortfolioRequest(BaseModel):
    """A request and its status. Sealed values that were erased are null."""

    id: int
    client_id: str | None
    risk_profile: RiskProfile
    amount_usd: Decimal
    horizon_years: int | None
    objectives: list[str] | None
    constraints: Constraints | None
    notes: str | None
    status: RequestState
    recommendation_id: int | None
    failure_reason: str | None
    failure_detail: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime


PORTFOLIO_REQUESTS = ReadModel(
    Path(__file__).parent,
    PortfolioRequest,
    {**fixed("client_id", "risk_profile"), **changing("status")},
)
