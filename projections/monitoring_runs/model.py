"""Runs of monitoring: one row for each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from psycopg import sql
from pydantic import BaseModel

from projections.read_model import Filter, ReadModel, changing, fixed


class RunRow(BaseModel):
    """A run. Its counts are null until it is completed."""

    id: int
    state: str
    as_of: str
    judged_upto: int
    historical: bool
    zone_data: str
    portfolios: int | None
    ok: int | None
    watch: int | None
    breached: int | None
    unknown: int | None
    raised: int | None
    closed: int | None
    decisions: int | None
    policies: dict[str, str] | None
    root: str | None
    started_by: str
    created_at: datetime
    completed_at: datetime | None


MONITORING_RUNS = ReadModel(
    Path(__file__).parent,
    RunRow,
    {
        **fixed("historical"),
        **changing("state"),
        # Texts of one form: they compare as times do.
        "as_of_from": Filter(sql.SQL("model.as_of >= %(as_of_from)s")),
        "as_of_to": Filter(sql.SQL("model.as_of < %(as_of_to)s")),
    },
)
