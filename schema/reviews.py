"""Supervision: a reviewer has looked at a case."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from schema.event_base import Event
from schema.fields import Position, Rationale, Sealed

Disposition = Literal["no-concern", "concern"]


class ReviewCase(BaseModel):
    """A reviewer has looked at a case as of the position `upto`: at each decision up to there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upto: Position
    disposition: Disposition
    note: Annotated[Rationale | None, Sealed()] = None


class CaseReviewed(ReviewCase, Event):
    """A reviewer has looked at the case. Of several reviews of a decision the last one counts."""

    type = "case.reviewed"
    schema_version = 1
