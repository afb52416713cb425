"""Agents that were registered or suspended: one row for each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed


class AgentState(BaseModel):
    """The state of an agent. If `answer_schema` is null, any JSON object is accepted as its answer."""

    id: int
    name: str
    suspended: bool
    suspended_at: datetime | None
    suspended_by: str | None
    suspend_reason: str | None
    resumed_at: datetime | None
    resumed_by: str | None
    resume_reason: str | None
    answer_schema: str | None
    created_at: datetime
    updated_at: datetime


AGENTS = ReadModel(
    Path(__file__).parent,
    AgentState,
    {**fixed("name"), **changing("suspended")},
)
