"""Legal holds: one row for each that was placed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed, of_client


class LegalHoldRow(BaseModel):
    """A legal hold of a client, or of one of its cases. The reasons are null once they are erased."""

    id: int
    client: int
    client_id: str | None
    request_id: int | None
    state: str
    reason: str | None
    placed_by: str
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None
    created_at: datetime
    updated_at: datetime


LEGAL_HOLDS = ReadModel(
    Path(__file__).parent,
    LegalHoldRow,
    {**of_client(), **fixed("client", "request_id"), **changing("state")},
    client_column="client",
)
