"""Portfolios that are watched: one row for each, with its newest definition."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed, of_client


class PortfolioRow(BaseModel):
    """A portfolio. Targets are null once the client is erased."""

    id: int
    name: str
    client: int
    client_id: str | None
    base: str
    targets: dict[str, str] | None
    rest: str | None
    policy: str
    risk_profile: str | None
    recommendation_id: int | None
    source: str | None
    assessed_on: str | None
    definitions: int
    defined_by: str
    created_at: datetime
    updated_at: datetime


PORTFOLIOS = ReadModel(
    Path(__file__).parent,
    PortfolioRow,
    {**of_client(), **fixed("name"), **changing("policy", "client")},
    client_column="client",
)
