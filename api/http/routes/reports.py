"""Reports over decisions: plain SQL views, whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.auth.permissions import MayRead
from api.http.parameters import as_json, plain_id
from api.http.problems import documented
from api.http.reading import read_report
from api.services import InjectedServices

router = APIRouter(prefix="/reports", tags=["reports"])

Report = Literal["override-rates", "override-reasons", "decision-times", "rubber-stamps"]


class Rows(BaseModel):
    """The rows of a report; docs/use/read-models.md says what the columns mean."""

    items: list[dict[str, Any]]


class ReadReport(BaseModel):
    """How many rows."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=10_000), BeforeValidator(plain_id)] = 1000


@router.get("/{report}", response_model=Rows, responses=documented(401, 403, 422, 503))
async def get_report(
    services: InjectedServices, caller: MayRead, report: Report, asked: Annotated[ReadReport, Query()]
) -> Response:
    """Overrides and their reasons per model version, advisor and month; times to decide; rubber stamps. Any role."""
    rows = await read_report(services.ledger, report.replace("-", "_"), asked.limit)
    return as_json({"items": rows})
