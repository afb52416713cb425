"""Findings of reviewers: one row for each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed, of_client
from schema.findings import Resolution, Severity
from schema.states import FindingState


class FindingRow(BaseModel):
    """A finding about a case or a client. The texts are null once they are erased."""

    id: int
    request_id: int | None
    client: int | None
    client_id: str | None
    decision_id: int | None
    severity: Severity
    state: FindingState
    text: str | None
    opened_by: str
    assignee: str | None
    resolution: Resolution | None
    closed_by: str | None
    closed_at: datetime | None
    close_id: int | None
    close_reason: str | None
    created_at: datetime


FINDINGS = ReadModel(
    Path(__file__).parent,
    FindingRow,
    {
        **of_client(),
        **fixed("request_id", "client", "decision_id", "severity", "opened_by"),
        **changing("state", "assignee", "resolution"),
    },
)
