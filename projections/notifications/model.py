"""Decisions whom to tell of an alert: one row for each, also where nobody is told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, fixed, of_client


class NotificationRow(BaseModel):
    """A decision. Without receivers nobody is told, for `reason`."""

    id: int
    portfolio: str
    client_id: str | None
    alert_id: int | None
    about: str
    receivers: list[str]
    reason: str
    until: str | None
    run: int
    as_of: str
    historical: bool
    decided_by: str
    created_at: datetime


NOTIFICATIONS = ReadModel(
    Path(__file__).parent, NotificationRow, {**of_client(), **fixed("portfolio", "alert_id", "run", "reason")}
)
