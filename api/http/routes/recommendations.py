"""Routes to read recommendations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import Field

from api.http.auth.permissions import MayReadCases
from api.http.lists import MOST_STATES, SEVERAL, Page, ReadOfDecisions
from api.http.media_types import IN_FORMS
from api.http.parameters import FilterText, PathId, ReadOne, as_json
from api.http.problems import documented
from api.http.read_list import read_list
from api.http.reading import read_one
from api.services import InjectedServices
from projections.ai_recommendations.model import AI_RECOMMENDATIONS, RecommendationSummary, ShownRecommendation
from schema.fields import RiskProfile
from schema.states import RecommendationState

router = APIRouter(prefix="/recommendations", tags=["recommendations"])


class ReadRecommendations(ReadOfDecisions):
    """Query parameters of the list of recommendations."""

    risk_profile: RiskProfile | None = None
    model_name: FilterText | None = None
    state: Annotated[list[RecommendationState], MOST_STATES] | None = Field(None, description=SEVERAL)


@router.get(
    "",
    response_model=Page[ShownRecommendation | RecommendationSummary],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_recommendations(
    services: InjectedServices, request: Request, caller: MayReadCases, query: Annotated[ReadRecommendations, Query()]
) -> Response:
    """List recommendations. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, AI_RECOMMENDATIONS, query, ShownRecommendation)


@router.get("/{recommendation_id}", response_model=ShownRecommendation, responses=documented(401, 403, 404, 422, 503))
async def get_recommendation(
    services: InjectedServices, caller: MayReadCases, recommendation_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one recommendation. Roles: advisor, compliance, examiner."""
    row = await read_one(services, caller, AI_RECOMMENDATIONS, recommendation_id, query, "recommendation")
    return as_json(row, query)
