"""What the models answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, JsonValue

from api.http.auth.permissions import Reader
from api.http.parameters import FilterText, Page, PathId, ReadOne, ReadPage, RowId, as_json
from api.http.problems import documented
from api.http.reading import read_one, read_page
from api.http.routes.decisions import State
from api.services import InjectedServices
from schema.events import Outcome
from schema.fields import Digest

router = APIRouter(prefix="/recommendations", tags=["recommendations"])


class Recommendation(BaseModel):
    """A recommendation as the agent gave it, and what people made of it: `recommendation` before, `replacement` after.

    `digest` is of what stands: name it to decide or communicate. Sealed values that were erased are null.
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
    state: State
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


class ReadRecommendations(ReadPage):
    """The list of recommendations and its filters."""

    request_id: RowId | None = None
    model_name: FilterText | None = None
    state: State | None = None


@router.get("", response_model=Page[Recommendation], responses=documented(401, 403, 422, 503))
async def list_recommendations(
    services: InjectedServices, caller: Reader, asked: Annotated[ReadRecommendations, Query()]
) -> Response:
    """Recommendations, the newest first. Any role."""
    return await read_page(services.ledger, "ai_recommendations", asked)


@router.get("/{recommendation_id}", response_model=Recommendation, responses=documented(401, 403, 404, 422, 503))
async def get_recommendation(
    services: InjectedServices, caller: Reader, recommendation_id: PathId, asked: Annotated[ReadOne, Query()]
) -> Response:
    """One recommendation. Any role."""
    row = await read_one(services.ledger, "ai_recommendations", recommendation_id, asked, "recommendation")
    return as_json(row)
