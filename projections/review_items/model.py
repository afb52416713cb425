"""The queue of reviews: one row for each decision that a sample chose."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from psycopg import sql
from pydantic import BaseModel

from projections.read_model import Filter, ReadModel, changing, fixed
from schema.events import Disposition
from schema.states import ReviewItemState


class ReviewItemRow(BaseModel):
    """A decision to review. It names neither the client nor anything sealed."""

    id: int
    request_id: int
    decision_id: int
    sample: int
    assignee: str
    due_at: str | None
    state: ReviewItemState
    assigned_by: str
    created_at: datetime
    review_id: int | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    disposition: Disposition | None
    findings: int


REVIEW_ITEMS = ReadModel(
    Path(__file__).parent,
    ReviewItemRow,
    {
        **fixed("request_id", "decision_id", "sample"),
        **changing("assignee", "state", "reviewed_by"),
        # Texts of times in UTC, in whole seconds, compare as times do.
        "due_before": Filter(sql.SQL("model.due_at < %(due_before)s"), changing=True),
    },
    # Other events alone make no row.
    made_by=("review.assigned", "review.reassigned", "case.reviewed", "finding.opened"),
    request_column="request_id",
)
