"""Findings of reviewers: what is wrong in a case, or with a client. Each is opened, perhaps assigned, and closed.

The events are in the stream of the request or of the client, so that their texts are erased with the client.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from schema.clients import SubjectName
from schema.event_base import Event
from schema.fields import Position, Rationale, Sealed

Severity = Literal["low", "medium", "high"]
Resolution = Literal["remedied", "accepted", "unfounded"]


class OpenFinding(BaseModel):
    """A finding: how severe, and what is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    severity: Severity
    text: Annotated[Rationale, Sealed()]


class OpenCaseFinding(OpenFinding):
    """A finding about a case: about all of it, or about one decision."""

    decision_id: Position | None = None


class FindingOpened(OpenCaseFinding, Event):
    """Somebody found something wrong. The position of the event is the finding's id."""

    type = "finding.opened"
    schema_version = 1


class AssignFinding(BaseModel):
    """Who sees to a finding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    assignee: SubjectName


class FindingAssigned(AssignFinding, Event):
    """A subject is to see to a finding."""

    type = "finding.assigned"
    schema_version = 1

    finding_id: Position


class CloseFinding(BaseModel):
    """The end of a finding: `remedied`, `accepted` as it is, or `unfounded`, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resolution: Resolution
    reason: Annotated[Rationale, Sealed()]


class FindingClosed(CloseFinding, Event):
    """A finding is closed, for good."""

    type = "finding.closed"
    schema_version = 1

    finding_id: Position


FINDING_EVENTS = (FindingOpened, FindingAssigned, FindingClosed)
