"""Routes to read recommendations."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from api.http.auth.permissions import MayRead
from api.http.parameters import FilterText, Page, PathId, ReadOne, ReadPage, RowId, as_json
from api.http.problems import documented
from api.http.reading import read_one, read_page
from api.services import InjectedServices
from projections.ai_recommendations.model import AI_RECOMMENDATIONS, ShownRecommendation
from schema.states import RecommendationState

router = APIRouter(prefix="/recommendations", tags=["recommendations"])


class ReadRecommendations(ReadPage):
    """Query parameters of the list of recommendations."""

    request_id: RowId | None = None
    model_name: FilterText | None = None
    state: RecommendationState | None = None


@router.get("", response_model=Page[ShownRecommendation], responses=documented(401, 403, 422, 429, 503))
async def list_recommendations(
    services: InjectedServices, caller: MayRead, query: Annotated[ReadRecommendations, Query()]
) -> Response:
    """List recommendations, the newest first. Any role."""
    return await read_page(services, caller, AI_RECOMMENDATIONS, query)


@router.get("/{recommendation_id}", response_model=ShownRecommendation, responses=documented(401, 403, 404, 422, 503))
async def get_recommendation(
    services: InjectedServices, caller: MayRead, recommendation_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one recommendation. Any role."""
    row = await read_one(services.ledger, AI_RECOMMENDATIONS, recommendation_id, query, "recommendation")
    return as_json(row, query)
