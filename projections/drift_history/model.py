"""The judgement of each completed run about each portfolio, computed again from what the run judged."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import sql
from pydantic import BaseModel

from projections.computed import ComputedModel
from projections.drift_history.compute import judged_again
from projections.read_model import Filter, fixed


class DriftRow(BaseModel):
    """What a run found about a portfolio. JSON columns are arrays, as in table.sql."""

    id: int
    position: int
    owner: str
    run: int
    portfolio: str
    as_of: str
    condition: str
    unknown: list[list[str | None]]
    turnover: str | None
    beyond: list[str]
    assets: list[list[str]]
    agrees: bool
    created_at: datetime


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row that was read with `parsed`, with names for what is in its arrays."""
    names = ("asset", "condition", "drift", "half_width", "target", "weight")
    hidden = {"position", "owner", "created_at"}
    return {
        **{name: value for name, value in row.items() if name not in hidden},
        "unknown": [{"reason": reason, "asset": asset} for reason, asset in row["unknown"]],
        "assets": [dict(zip(names, one, strict=True)) for one in row["assets"]],
    }


DRIFT_HISTORY = ComputedModel(
    Path(__file__).parent,
    DriftRow,
    {
        **fixed("run", "portfolio", "condition"),
        # Texts of one form: they compare as times do.
        "as_of_from": Filter(sql.SQL("model.as_of >= %(as_of_from)s")),
        "as_of_to": Filter(sql.SQL("model.as_of < %(as_of_to)s")),
    },
    made_by=("monitoring.run-completed",),
    compute=judged_again,
)
