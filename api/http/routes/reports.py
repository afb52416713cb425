"""Reports about decisions, each from the SELECT of an SQL view."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.http import tabular
from api.http.auth.permissions import MayReadReports, also
from api.http.media_types import FORMS, IN_FORMS, JSON, negotiate
from api.http.parameters import as_json
from api.http.problems import documented
from api.http.read_report import ReadReport, Report, read_report
from api.http.reading import record_read
from api.services import InjectedServices
from ledger.errors import NotFound

router = APIRouter(prefix="/reports", tags=["reports"])


class Rows(BaseModel):
    """The rows of a report; docs/use/read-models.md says what the columns mean.

    `as_of` is the position whose state the report shows.
    """

    items: list[dict[str, Any]]
    as_of: int


@router.get("/{report}", response_model=Rows, responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)})
async def get_report(
    services: InjectedServices,
    request: Request,
    caller: MayReadReports,
    report: Report,
    query: Annotated[ReadReport, Query()],
) -> Response:
    """Read a report: overrides and their reasons by model version, advisor and month; times to decide; rubber
    stamps; how many decisions were reviewed.

    Role: advisor, compliance or auditor.
    """
    media_type = negotiate(request, FORMS)
    if query.client_id is None:
        return _answer(await read_report(services, caller.actor, report, query), query, media_type)
    # It tells about one client: so who may not read the client's cases may not read it.
    actor = also(request, caller, "read cases")
    try:
        found = await read_report(services, actor, report, query)
    except NotFound:  # somebody looked
        await record_read(services, caller, query, (), 0)
        raise
    await record_read(services, caller, query, (), len(found["items"]))
    return _answer(found, query, media_type)


def _answer(found: dict[str, Any], query: ReadReport, media_type: str) -> Response:
    """Answer with a report in this form. A table without rows has no heading."""
    if media_type == JSON:
        return as_json(found, query)
    rows = found["items"]
    names = tuple(rows[0]) if rows else ()
    content = (tabular.heading(media_type, names) if rows else b"") + tabular.encode(rows, media_type, names)
    headers = {"Ledger-As-Of": str(found["as_of"]), "Cache-Control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)
