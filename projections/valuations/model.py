"""Valuations of portfolios by their custodians: one row for each record."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, fixed, of_client


class ValuationRow(BaseModel):
    """A valuation. The last one of a day counts. `amounts` are the values of the holdings, by asset."""

    id: int
    portfolio: str
    client: int
    client_id: str | None
    valued_on: str
    source: str
    currency: str
    amounts: dict[str, str] | None
    recorded_by: str
    created_at: datetime


VALUATIONS = ReadModel(
    Path(__file__).parent,
    ValuationRow,
    {**of_client(), **fixed("portfolio", "source", "valued_on")},
    made_by=("valuation.recorded",),
    client_column="client",
    per_event=True,
)
