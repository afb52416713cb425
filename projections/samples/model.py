"""Samples of decisions: one row for each."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from projections.read_model import ReadModel, fixed


class SampleRow(BaseModel):
    """A sample: of which decisions, how it was drawn, and which it chose. Nothing of it is sealed."""

    id: int
    position: int
    decided_from: str
    decided_to: str
    agent: str | None
    decided_by: str | None
    outcome: str | None
    overridden: bool | None
    amount_from: Decimal | None
    amount_to: Decimal | None
    unreviewed: bool | None
    size: int
    weights: list[dict[str, Any]] | None
    reviewers: list[str]
    due_at: str | None
    method: str
    seed: str
    seed_from: str
    upto: int
    population: int
    population_digest: str
    chosen: list[int]
    drawn_by: str
    created_at: datetime


SAMPLES = ReadModel(Path(__file__).parent, SampleRow, fixed("drawn_by"))
