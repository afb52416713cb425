"""Reports about decisions, each from an SQL view."""

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
    """Query parameters of a report."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=10_000), BeforeValidator(plain_id)] = 1000


@router.get("/{report}", response_model=Rows, responses=documented(401, 403, 422, 503))
async def get_report(
    services: InjectedServices, caller: MayRead, report: Report, query: Annotated[ReadReport, Query()]
) -> Response:
    """Read a report: overrides and their reasons by model version, advisor and month; times to decide; rubber stamps.

    Any role.
    """
    rows = await read_report(services.ledger, report.replace("-", "_"), query.limit)
    return as_json({"items": rows})
