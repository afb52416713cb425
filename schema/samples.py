"""Samples of decisions, in streams `sample-N`, and the queue of reviews, in the streams of the requests.

A sample has positions and numbers alone, so nothing of it has to be erased. The items of its queue stand with the case
that they are about: so they are in its story, and the review of the case closes them without another event.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from schema.clients import Second, SubjectName
from schema.decisions import Outcome
from schema.event_base import Event
from schema.fields import Count, Digest, Money, Name, Position, RiskProfile

MOST_CHOSEN = 1000
MOST_REVIEWERS = 100
# The most tickets of one decision. A decision of the highest weight costs so many hashes.
MOST_WEIGHT = 20


class Weight(BaseModel):
    """Points for decisions that meet one condition. The weight of a decision is 1 and all its points.

    `overridden`: edited or rejected. `decided_before` gives points for age, by a fixed time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: Annotated[int, Field(strict=True, ge=1, le=MOST_WEIGHT - 1)]
    overridden: Literal[True] | None = None
    amount_usd_at_least: Money | None = None
    risk_profile: RiskProfile | None = None
    decided_before: Second | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> Weight:
        given = [self.overridden, self.amount_usd_at_least, self.risk_profile, self.decided_before]
        if given.count(None) != len(given) - 1:
            raise PydanticCustomError(
                "one_condition",
                "Input should have one of overridden, amount_usd_at_least, risk_profile, decided_before",
            )
        return self


class DecisionsIn(BaseModel):
    """Which decisions: those made from `decided_from` on and before `decided_to`, that match all filters given.

    `overridden`: whether the decision edited or rejected. `unreviewed`: only those that no review has looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    decided_from: Second
    decided_to: Second
    agent: Name | None = None
    decided_by: Name | None = None
    outcome: Outcome | None = None
    overridden: bool | None = None
    amount_from: Money | None = None
    amount_to: Money | None = None
    unreviewed: Literal[True] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> DecisionsIn:
        if self.decided_from >= self.decided_to:
            raise PydanticCustomError("reversed", "Input should have decided_to after decided_from")
        if self.amount_from is not None and self.amount_to is not None and self.amount_to < self.amount_from:
            raise PydanticCustomError("reversed", "Input should not have amount_to below amount_from")
        return self


class DrawSample(DecisionsIn):
    """A sample to draw: of which decisions, how many, by which weights, and who reviews them until when.

    Without weights all decisions are equally likely. Without `seed` the server draws one.
    """

    size: Annotated[int, Field(strict=True, ge=1, le=MOST_CHOSEN)]
    weights: Annotated[list[Weight], Field(max_length=20)] | None = None
    seed: Digest | None = None
    reviewers: Annotated[list[SubjectName], Field(min_length=1, max_length=MOST_REVIEWERS)]
    due_at: Second | None = None

    @model_validator(mode="after")
    def _bounded(self) -> DrawSample:
        if sum(weight.points for weight in self.weights or []) >= MOST_WEIGHT:
            raise PydanticCustomError(
                "weight", "Input should not have more than {most} points together", {"most": MOST_WEIGHT - 1}
            )
        if len(set(self.reviewers)) < len(self.reviewers):
            raise PydanticCustomError("named_twice", "Input should name each reviewer once")
        return self


class SampleDrawn(DrawSample, Event):
    """A sample was drawn as of the position `upto` (docs/formats/samples.md). Opens the stream `sample-N`."""

    type = "sample.drawn"
    schema_version = 1

    method: Literal["lowest-tickets/v1"]
    seed: Digest
    # Who chose the seed: the server at random, or the caller.
    seed_from: Literal["server", "caller"]
    upto: Count
    population: Count
    population_digest: Digest
    # The positions of decisions, in the order in which they were drawn.
    chosen: Annotated[list[Position], Field(min_length=1, max_length=MOST_CHOSEN)]


class ReviewAssigned(Event):
    """A decision that a sample chose is to be reviewed by this subject. The position of the event is the item's id."""

    type = "review.assigned"
    schema_version = 1

    sample: Position
    decision_id: Position
    assignee: SubjectName
    due_at: Second | None = None


class ReassignReview(BaseModel):
    """Who is to review it instead, and until when; without `due_at` that stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    assignee: SubjectName
    due_at: Second | None = None


class ReviewReassigned(ReassignReview, Event):
    """Another subject is to review an item."""

    type = "review.reassigned"
    schema_version = 1

    item_id: Position


SAMPLE_EVENTS = (SampleDrawn, ReviewAssigned, ReviewReassigned)
