"""Erasures of clients: one row for each that was requested, also for those that were refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed, of_client


class ErasureRow(BaseModel):
    """An erasure that was requested. The counts are of what there was to erase, or was erased."""

    id: int
    client: int
    client_id: str | None
    state: str
    reason: str
    reference: str | None
    note: str | None
    requested_by: str
    expires_at: str | None
    forbidden: dict[str, Any] | None
    clients: list[int] | None
    streams: int | None
    events: int | None
    values: int | None
    reapplies: dict[str, Any] | None
    answer_position: int | None
    answered_by: str | None
    answered_at: datetime | None
    rationale: str | None
    created_at: datetime
    updated_at: datetime


ERASURES = ReadModel(
    Path(__file__).parent,
    ErasureRow,
    {**of_client(), **fixed("client", "reason"), **changing("state")},
    client_column="client",
)
