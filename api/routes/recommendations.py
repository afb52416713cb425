"""What the models answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, JsonValue

from api.auth import Reader
from api.errors import documented
from api.routes.common import MAX_ID, AsOf, Consistency, Page, Pages, as_json, not_found
from api.routes.lists import read_one, read_page

router = APIRouter(prefix="/recommendations", tags=["recommendations"])


class Recommendation(BaseModel):
    """A recommendation, as it was recorded. Sealed values that were erased are null."""

    id: int
    request_id: int
    client_id: str | None
    recommendation: dict[str, JsonValue] | None
    model_name: str
    model_version: str | None
    parameters: dict[str, JsonValue] | None
    prompt: str | None
    recorded_by: str
    created_at: datetime


@router.get("", response_model=Page[Recommendation], responses=documented(401, 403, 422, 503))
async def list_recommendations(
    request: Request,
    caller: Reader,
    asked: Pages,
    client_id: Annotated[str | None, Query(max_length=200)] = None,
    request_id: Annotated[int | None, Query(ge=1, le=MAX_ID)] = None,
    model_name: Annotated[str | None, Query(max_length=200)] = None,
    created_from: Annotated[AwareDatetime | None, Query(alias="from", description="Recorded at or after.")] = None,
    created_to: Annotated[AwareDatetime | None, Query(alias="to", description="Recorded before.")] = None,
) -> Response:
    """Recommendations, the newest first. Any role."""
    filters: dict[str, Any] = {
        "client_id": client_id,
        "request_id": request_id,
        "model_name": model_name,
        "created_from": created_from,
        "created_to": created_to,
    }
    return await read_page(request.app.state.ledger, "ai_recommendations", filters, asked)


@router.get("/{recommendation_id}", response_model=Recommendation, responses=documented(401, 403, 404, 422, 503))
async def get_recommendation(
    request: Request,
    caller: Reader,
    recommendation_id: Annotated[int, Path(ge=1, le=MAX_ID)],
    as_of: AsOf = None,
    consistency: Consistency = "strong",
) -> Response:
    """One recommendation. Any role."""
    row = await read_one(request.app.state.ledger, "ai_recommendations", recommendation_id, as_of, consistency)
    if row is None:
        raise not_found("recommendation")
    return as_json(row)
