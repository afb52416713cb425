"""Messages to endpoints: one row for each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed
from schema.states import DeliveryState


class DeliveryRow(BaseModel):
    """A message. `outcome`, `reason` and `status` are those of the last attempt, while nothing came after it."""

    id: int
    run: int
    endpoint: str
    decisions: list[int]
    state: DeliveryState
    outcome: str | None
    reason: str | None
    status: int | None
    attempts: int
    round: int
    attempted_at: datetime | None
    created_at: datetime
    updated_at: datetime


DELIVERIES = ReadModel(Path(__file__).parent, DeliveryRow, {**fixed("run", "endpoint"), **changing("state")})
