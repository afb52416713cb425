"""The answers of routes of stories: a client's timeline, a case, what was known about it, and what changed."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, JsonValue

from api.http.shown_event import CoveringCheckpoint
from projections.accesses.model import Access
from projections.ai_recommendations.model import Recommendation
from projections.decisions.model import Decision
from projections.model_calls.model import ModelCall
from projections.portfolio_requests.model import PortfolioRequest


class Step(BaseModel):
    """An event as a step of a story: who did what, in which role, and with which words.

    `values` has the sealed values; `missing` says of the others why they are not there: `erased` or `not-permitted`.
    Of an imported event, `actor` imported it, and `backfill` says who acted, when, and where that was written down.
    """

    position: int
    recorded_at: datetime
    type: str
    stream: str
    request_id: int | None
    actor: dict[str, JsonValue]
    backfill: dict[str, JsonValue] | None
    signed: bool
    data: dict[str, JsonValue]
    values: dict[str, JsonValue]
    missing: dict[str, str]
    hash: str


class CaseSteps(BaseModel):
    """The steps of one case within the window."""

    request_id: int
    events: list[Step]


class ClientTimeline(BaseModel):
    """The events about a client at positions `first` to `last`, as of `as_of`.

    `registry` has what is of no case. `accesses` says who looked; null if the reader may not know.
    """

    client: int
    as_of: int
    first: int
    last: int
    cases: list[CaseSteps]
    registry: list[Step]
    accesses: list[Access] | None
    next_cursor: str | None


class CaseLine(BaseModel):
    """One value of a recommendation, beside the value that was decided."""

    path: str
    recommended: JsonValue
    decided: JsonValue
    changed: bool


class ComparedRecommendation(Recommendation):
    """A recommendation beside what was decided, line by line; `lines` is null once a content is erased."""

    lines: list[CaseLine] | None


class CaseProof(BaseModel):
    """The proof of a case: its last event, and the checkpoint that covers all of it, or null."""

    last_position: int
    checkpoint: CoveringCheckpoint | None


class ComposedCase(BaseModel):
    """One case as of a position: the rows of the read models, and all steps."""

    request_id: int
    client: int | None
    as_of: int
    request: PortfolioRequest
    recommendations: list[ComparedRecommendation]
    decisions: list[Decision]
    model_calls: list[ModelCall]
    events: list[Step]
    proof: CaseProof


class ShownEarlier(BaseModel):
    """An earlier recommendation that a model call was shown: `then`, when the agent read it, and `now`."""

    model_call_id: int
    as_of: int | None
    recommendation_id: int
    then: Recommendation | None
    now: Recommendation | None


class PolicyInForce(BaseModel):
    """A policy in force, with its whole text."""

    position: int
    adopted_at: datetime
    version: str | None
    sha256: str | None
    policy: dict[str, JsonValue] | None


class Knowledge(BaseModel):
    """The knowledge about a case as of a position, beside that of now."""

    request_id: int
    as_of: int
    request: PortfolioRequest
    request_now: PortfolioRequest
    shown: list[ShownEarlier]
    policies: list[PolicyInForce]


class ChangedField(BaseModel):
    """A value that changed; null where there is none."""

    path: str
    before: JsonValue
    after: JsonValue


class ChangedRow(BaseModel):
    """A row of a case that changed. `kind`: request, recommendation, decision or model-call."""

    kind: str
    id: int
    fields: list[ChangedField]


class Changes(BaseModel):
    """The changes of a case after position `since`, up to position `as_of`."""

    request_id: int
    since: int
    as_of: int
    changes: list[ChangedRow]
