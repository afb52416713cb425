"""Alerts of portfolios: one row for each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed, of_client


class AlertRow(BaseModel):
    """An alert. Its decision is the newest one."""

    id: int
    portfolio: str
    alert: int
    client_id: str | None
    rule: str
    subject: str | None
    cause: str | None
    state: str
    run: int
    as_of: str
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    acknowledge_rationale: str | None
    silenced_until: str | None
    silenced_by: str | None
    silence_reason: str | None
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None
    close_rationale: str | None
    receivers: list[str] | None
    decided_reason: str | None
    decided_again_at: str | None
    advice: str | None
    level: int | None
    escalated_at: datetime | None
    created_at: datetime
    updated_at: datetime


PORTFOLIO_ALERTS = ReadModel(
    Path(__file__).parent, AlertRow, {**of_client(), **fixed("portfolio", "rule", "run"), **changing("state")}
)
