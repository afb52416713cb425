"""Corporate actions: one row for each record."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, fixed


class CorporateActionRow(BaseModel):
    """A record of a corporate action. It counts unless another one replaced it; `withdrawn` takes the action back."""

    id: int
    asset: str
    date: str
    action: str
    ratio: str | None
    becomes: str | None
    price: str | None
    currency: str | None
    withdrawn: bool
    source: str | None
    replaced_by: int | None
    recorded_by: str
    created_at: datetime


CORPORATE_ACTIONS = ReadModel(Path(__file__).parent, CorporateActionRow, fixed("asset", "action", "date"))
