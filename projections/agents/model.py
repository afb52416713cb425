"""Agents that were registered or suspended: one row for each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from psycopg import sql
from pydantic import BaseModel

from projections.read_model import Filter, ReadModel, changing, fixed


class AgentState(BaseModel):
    """The state of an agent by its own stream: its answer schema, and suspensions as earlier versions recorded them."""

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
    {**fixed("name"), **changing("suspended"), "names": Filter(sql.SQL("model.name = ANY (%(names)s)"))},
)
