"""Recommendations: one row for each, with what people did with it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, JsonValue

from projections.read_model import ReadModel, changing, fixed
from schema.events import Outcome
from schema.fields import Digest
from schema.states import RecommendationState


class Recommendation(BaseModel):
    """A recommendation as the agent gave it, and what people did with it.

    `recommendation` is the content before an edit, `replacement` after it. `digest` is the commitment to the content in
    force: send it to decide or to communicate. Sealed values that were erased are null.
    """

    id: int
    request_id: int
    client_id: str | None
    recommendation: dict[str, JsonValue] | None
    model_name: str
    model_version: str | None
    parameters: dict[str, JsonValue] | None
    prompt: str | None
    agent: str
    created_at: datetime
    state: RecommendationState
    digest: Digest
    model_call_id: int | None
    supersedes: int | None
    superseded_by: int | None
    opened_at: datetime | None
    opened_by: str | None
    decision_id: int | None
    outcome: Outcome | None
    decided_by: str | None
    decided_at: datetime | None
    reason_code: str | None
    reason_group: str | None
    rationale: str | None
    replacement: dict[str, JsonValue] | None
    replacement_digest: Digest | None
    response: str | None
    needs_second: bool | None
    confirmed_by: str | None
    confirmed_at: datetime | None
    communicated_at: datetime | None
    communicated_by: str | None
    channel: str | None
    message: str | None
    communicated_digest: Digest | None
    updated_at: datetime


class ShownRecommendation(Recommendation):
    """A recommendation as routes serve it: with the salts that open the digests of its contents.

    SHA-256("advice-ledger/sealed/v1\\n" || salt || canonical JSON of [name, content]) is the digest; the name is
    `recommendation` or `replacement`. Erased contents have no salt.
    """

    salts: dict[str, str]


AI_RECOMMENDATIONS = ReadModel(
    Path(__file__).parent,
    Recommendation,
    {**fixed("client_id", "request_id", "model_name"), **changing("state")},
)
