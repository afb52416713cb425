"""Routes to read who read data of clients, exported it, or was refused."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from api.http.auth.permissions import MayReadAccesses
from api.http.lists import MostRows, Page, ReadList
from api.http.parameters import FilterText, RowId, as_json
from api.http.problems import documented
from api.http.read_list import read_page
from api.services import InjectedServices
from ledger.database import AsyncConnection
from projections.accesses.model import ACCESSES, Access
from projections.reads import wait_until_caught_up
from projections.reports import read_view

router = APIRouter(prefix="/access", tags=["access"])


class ReadAccesses(ReadList):
    """Query parameters of the list of accesses."""

    client_id: FilterText | None = None
    request_id: RowId | None = None
    subject: FilterText | None = None
    action: Literal["read", "export", "refused"] | None = None

    def filters(self) -> dict[str, object]:
        """Return the filters. An access belongs to no client: it may be to requests of several."""
        found = super().filters()
        if "client_id" in found:
            found["of_client"] = found.pop("client_id")
        return found


class ReadCounts(BaseModel):
    """Query parameters of the counts."""

    model_config = ConfigDict(extra="forbid")

    limit: MostRows = 1000


class AccessCount(BaseModel):
    """The number of times that a subject accessed data of clients on a day (UTC)."""

    subject: str
    role: str
    day: date
    reads: int
    exports: int
    refusals: int
    first_at: datetime
    last_at: datetime


class AccessCounts(BaseModel):
    """The counts, the newest day first."""

    items: list[AccessCount]


@router.get("", response_model=Page[Access], responses=documented(401, 403, 404, 422, 429, 503))
async def list_accesses(
    services: InjectedServices, caller: MayReadAccesses, query: Annotated[ReadAccesses, Query()]
) -> Response:
    """List who read data of clients, exported it, or was refused; the newest first. Role: compliance or auditor."""
    return await read_page(services, caller, ACCESSES, query)


@router.get("/counts", response_model=AccessCounts, responses=documented(401, 403, 422, 503))
async def get_access_counts(
    services: InjectedServices, caller: MayReadAccesses, query: Annotated[ReadCounts, Query()]
) -> Response:
    """Count reads, exports and refusals by subject, role and day. Role: compliance or auditor."""

    async def work(conn: AsyncConnection) -> list[dict[str, Any]]:
        await wait_until_caught_up(conn, ACCESSES, patience_s=services.ledger.patience_s)
        return await read_view(conn, "access_counts", limit=query.limit)

    return as_json({"items": await services.ledger.readers.run(work)})
