"""Subjects: one row for each person, agent and service."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed


class RoleGrant(BaseModel):
    """A role of a subject. `until` and `clients` limit it; `position` is that of the event that granted it."""

    role: str
    until: datetime | None = None
    clients: list[int] | None = None
    granted_by: str
    position: int


class Subject(BaseModel):
    """A person, an agent or a service. Roles whose time is over are listed until they are revoked."""

    id: int
    name: str
    kind: str | None
    display_name: str | None
    roles: list[str]
    grants: list[RoleGrant]
    groups: list[str]
    suspended: bool
    suspended_at: datetime | None
    suspended_by: str | None
    suspend_reason: str | None
    resumed_at: datetime | None
    resumed_by: str | None
    resume_reason: str | None
    created_at: datetime
    updated_at: datetime


SUBJECTS = ReadModel(
    Path(__file__).parent,
    Subject,
    {**fixed("name"), **changing("kind", "suspended")},
)
