"""Routes of jobs: work in the background. Each kind of job has a route of its own that asks for one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.http.auth.permissions import MayCancelJobs, MayReadJobs, Reader
from api.http.json_route import JsonRoute
from api.http.lists import decode_cursor, encode_cursor
from api.http.parameters import FilterText, NoQuery, PathId, as_json, plain_id
from api.http.problems import documented
from api.jobs.queue import Job
from api.services import InjectedServices
from ledger.errors import Refused
from schema.states import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=JsonRoute)


class Progress(BaseModel):
    """How much of a job is done; 0 of 0 if that is not known."""

    done: int
    total: int


class JobRow(BaseModel):
    """A job. `error` is the name of why it has failed, or why it is tried again at `not_before`."""

    id: int
    kind: str
    parameters: dict[str, Any]
    asked_by: str
    state: JobState
    progress: Progress
    result: dict[str, Any] | None
    error: str | None
    attempt: int
    not_before: datetime
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None


class JobPage(BaseModel):
    """A page of jobs; `next_cursor` is null on the last page."""

    items: list[JobRow]
    next_cursor: str | None


class ReadJobs(BaseModel):
    """Query parameters of the list of jobs."""

    model_config = ConfigDict(extra="forbid")

    kind: FilterText | None = None
    state: JobState | None = None
    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(plain_id)] = Field(50, description="Rows per page.")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the previous page."
    )


class CancelJob(BaseModel):
    """Cancel the job. There is nothing to say."""

    model_config = ConfigDict(extra="forbid")


@router.get("", response_model=JobPage, responses=documented(401, 403, 422, 503))
async def list_jobs(services: InjectedServices, caller: MayReadJobs, query: Annotated[ReadJobs, Query()]) -> Response:
    """List jobs, the newest first. Roles: admin, auditor, compliance; an advisor's own."""
    before = None if query.cursor is None else decode_cursor(query.cursor)[0]
    filters = query.model_dump(include={"kind", "state"}, exclude_none=True)
    found = await services.jobs.read(query.limit + 1, before_id=before, **filters, **_own(caller))
    items = found[: query.limit]
    cursor = encode_cursor(items[-1].id, None) if len(found) > query.limit else None
    return as_json({"items": [_shown(item) for item in items], "next_cursor": cursor})


@router.get("/{job}", response_model=JobRow, responses=documented(401, 403, 404, 422, 503))
async def get_job(services: InjectedServices, caller: MayReadJobs, job: PathId, _query: NoQuery) -> Response:
    """Read one job: progress, result or name of the error. Roles: admin, auditor, compliance; an advisor's own."""
    return as_json(_shown(await services.jobs.get(job, **_own(caller))))


@router.post(
    "/{job}/cancellation",
    response_model=JobRow,
    responses=documented(400, 401, 403, 404, 409, 413, 415, 422, 503),
)
async def cancel_job(services: InjectedServices, caller: MayCancelJobs, job: PathId, body: CancelJob) -> Response:
    """Cancel a job that has not ended. Role: admin; advisor, auditor and compliance their own."""
    await services.jobs.get(job, **_own(caller))
    state = await services.jobs.cancel(job)
    if state != JobState.CANCELLED:
        raise Refused("job-ended", f"the job has ended: it is {state}", state=state)
    return as_json(_shown(await services.jobs.get(job)))


def _own(caller: Reader) -> dict[str, object]:
    """Return the filter by the caller's own jobs; empty if the permission reaches to all."""
    return {"asked_by": caller.actor.id} if caller.scope == "own" else {}


def _shown(job: Job) -> dict[str, Any]:
    """Return a job as its row in an answer."""
    row = {name: getattr(job, name) for name in JobRow.model_fields if name != "progress"}
    return {**row, "progress": {"done": job.done, "total": job.total}}
