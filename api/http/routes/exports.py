"""Routes of exports: ask for an evidence bundle, see what became of it, and fetch the file."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from pydantic import AfterValidator, BaseModel, WithJsonSchema, model_validator

from api import times
from api.http.auth.permissions import MayExport, MayReadExports
from api.http.event_search import check_words
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    NoQuery,
    PathId,
    ReadOne,
    RowId,
    as_json,
    event_id,
    known_zone,
    recorded,
)
from api.http.problems import ApiError, documented
from api.http.read_list import read_page
from api.http.reading import read_one, record_read
from api.jobs.exports import EXPORT, ExportParameters, file_of, remove_files
from api.services import InjectedServices, Services
from ledger.domain.export import CATEGORY, Export, stream_of
from ledger.errors import Refused
from ledger.service.accesses import Access
from ledger.store.envelope import Actor
from projections.exports.model import EXPORTS, ExportRow
from schema.clients import Second
from schema.events import ExportRequest
from schema.exports import ZoneName
from schema.states import ExportState

router = APIRouter(prefix="/exports", tags=["exports"], route_class=JsonRoute)

ZIP = "application/zip"
ENDS = (("from", times.start), ("to", times.end))
DAYS = {f"{kind}_{end}": which for kind in ("recorded", "occurred") for end, which in ENDS}


# A time, or a date: that day in the zone of the export.
SecondOrDay = Annotated[
    Second | None,
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?$"}, {"type": "null"}]}
    ),
]


class AskExport(ExportRequest):
    """An export as it is asked for: times may be dates, which are whole days of `zone`, both included."""

    recorded_from: SecondOrDay = None
    recorded_to: SecondOrDay = None
    occurred_from: SecondOrDay = None
    occurred_to: SecondOrDay = None
    zone: Annotated[ZoneName, AfterValidator(known_zone)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _days(cls, members: Any) -> Any:
        """Write dates as times. What is wrong otherwise is said of its member later."""
        if not isinstance(members, dict):
            return members
        try:
            zone = times.zone_of(str(members.get("zone") or times.DEFAULT_ZONE))
            found = {name: _second(members[name], which, zone) for name, which in DAYS.items() if name in members}
        except times.BadTime:
            return members
        return members | found


class ExportAccepted(BaseModel):
    """The export has this number; its job makes the bundle."""

    export: int
    job: int
    state: ExportState


class ReadExports(ReadList):
    """Query parameters of the list of exports."""

    client: RowId | None = None
    request: RowId | None = None
    requested_by: FilterText | None = None
    state: ExportState | None = None


@router.post("", status_code=202, response_model=ExportAccepted, responses={**WRITTEN, **documented(404, 429)})
async def request_export(
    services: InjectedServices, caller: MayExport, body: AskExport, idempotency_key: IdempotencyKey = None
) -> Response:
    """Ask for an evidence bundle, for a purpose and a recipient. Role: compliance."""
    if body.text is not None:
        check_words(services, caller.role)
    receipt = await services.ledger.exports.request(caller, body, event_id(caller, idempotency_key))
    number = int(receipt.stream.removeprefix(CATEGORY))
    await _record(services, caller, body, number)
    job = await services.jobs.ask(EXPORT, ExportParameters(export=number), caller.id, receipt.id)
    if services.job_runner is not None:
        services.job_runner.wake()
    state = (await services.ledger.exports.get(number)).state
    return recorded(202, {"export": number, "job": job, "state": state}, receipt, f"/exports/{number}")


@router.get("", response_model=Page[ExportRow], responses=documented(401, 403, 422, 429, 503))
async def list_exports(
    services: InjectedServices, caller: MayReadExports, query: Annotated[ReadExports, Query()]
) -> Response:
    """List exports, the newest first: what was produced, for whom. Roles: auditor, compliance."""
    return await read_page(services, caller, EXPORTS, query)


@router.get("/{export}", response_model=ExportRow, responses=documented(401, 403, 404, 422, 503))
async def get_export(
    services: InjectedServices, caller: MayReadExports, export: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one export. Roles: auditor, compliance."""
    row = await read_one(services, caller, EXPORTS, export, query, "export", stream_of(export))
    return as_json(row, query)


@router.get(
    "/{export}/file",
    response_class=FileResponse,
    responses={
        **documented(401, 403, 404, 409, 410, 422, 503),
        200: {"content": {ZIP: {}}, "description": "The bundle."},
    },
)
async def get_export_file(
    services: InjectedServices, caller: MayReadExports, export: PathId, query: NoQuery
) -> Response:
    """Fetch the bundle, while it is kept. Roles: auditor, compliance."""
    found = await services.ledger.exports.get(export)
    path, sha256 = await asyncio.to_thread(_kept, services, export, found)
    data = found.requested.data
    requests = [int(data["request"])] if "request" in data else []
    assert found.completed is not None
    await record_read(services, caller, query, requests, found.completed["events"])
    digest = base64.b64encode(bytes.fromhex(sha256)).decode()
    headers = {"Repr-Digest": f"sha-256=:{digest}:", "Cache-Control": "no-store"}
    return FileResponse(path, media_type=ZIP, filename=f"export-{export}.zip", headers=headers)


def _kept(services: Services, number: int, found: Export) -> tuple[Path, str]:
    """Return the file of an export, and its digest. Raises Refused, ApiError `export-gone`."""
    if found.erased:
        if services.job_files is not None:
            remove_files(services.job_files, number)
        raise ApiError("export-gone", "the client was erased since, and the file with it")
    if found.failed is not None:
        raise Refused("export-failed", f"the export has failed: {found.failed}", state=found.state)
    if found.completed is None:
        raise Refused("export-not-ready", "the bundle is not made yet: see its job", state=found.state)
    expired = datetime.fromisoformat(found.completed["expires_at"]) <= datetime.now(UTC)
    sha256 = str(found.completed["sha256"])
    if services.job_files is not None and not expired:
        path = file_of(services.job_files, number, sha256)
        if path.is_file():
            return path, sha256
    raise ApiError(
        "export-gone",
        "the file has expired and was deleted; it is on record what it had. Ask for another export",
    )


def _second(value: Any, which: Callable[[datetime | date, tzinfo], datetime], zone: tzinfo) -> Any:
    """Return the first instant of a date, or the first after it, as the schema writes times; else the value."""
    if not isinstance(value, str) or not times.DATE.fullmatch(value):
        return value
    return which(times.parse(value), zone).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _record(services: Services, caller: Actor, body: ExportRequest, number: int) -> None:
    """Record who exports what, before anything is written. Raises Unavailable."""
    requests, rows = await services.ledger.exports.extent(body, number)
    names = tuple(sorted(body.model_fields_set - {"purpose", "recipient"}))
    access = Access(caller.id, caller.role, "export", "POST /exports", names, caller.credential)
    await services.ledger.accesses.record(access, requests, rows)
