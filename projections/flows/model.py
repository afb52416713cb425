"""Flows into and out of portfolios: one row for each record."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, fixed, of_client


class FlowRow(BaseModel):
    """A record of a flow. It counts unless another one replaced it; `withdrawn`: it takes the flow back."""

    id: int
    portfolio: str
    client: int
    client_id: str | None
    reference: str | None
    date: str
    kind: str
    amount: str | None
    currency: str
    withdrawn: bool
    source: str | None
    replaced_by: int | None
    recorded_by: str
    created_at: datetime


FLOWS = ReadModel(
    Path(__file__).parent,
    FlowRow,
    {**of_client(), **fixed("portfolio", "kind", "date")},
    client_column="client",
)
