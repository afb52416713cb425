"""Supervision: a reviewer has looked at a case, or at all cases of a range."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schema.event_base import Event
from schema.fields import Position, Rationale, Sealed
from schema.findings import FINDING_EVENTS
from schema.samples import SAMPLE_EVENTS, DecisionsIn

Disposition = Literal["no-concern", "concern"]
MOST_CASES = 1000
Cases = Annotated[list[Position], Field(max_length=MOST_CASES)]


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


class ReviewRange(DecisionsIn):
    """A reviewer has looked at all cases with a decision that matches: of one client by its number, or of all clients.

    A note is about one client: it is erased with that client. `leave_out_own` leaves out cases in which the reviewer
    acted; without it, such a case is a refusal.
    """

    client: Position | None = None
    disposition: Disposition
    note: Annotated[Rationale | None, Sealed()] = None
    leave_out_own: Literal[True] | None = None


class RangeReviewed(ReviewRange, Event):
    """A range was reviewed as of the position `upto`: `case.reviewed` in the stream of each case says so too."""

    type = "range.reviewed"
    schema_version = 1

    upto: Position
    # The numbers of the requests that were covered, and of those that were left out.
    cases: Cases
    left_out: Cases


REVIEW_EVENTS = (CaseReviewed, RangeReviewed, *SAMPLE_EVENTS, *FINDING_EVENTS)
