"""Routes to read the story of a client, and one case as a whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from api import times
from api.http.auth.permissions import MayReadCases, Reader
from api.http.lists import ReadRange, ReadWindow, decode_cursor, encode_cursor
from api.http.parameters import AsOf, PathId, ReadOne, as_json, instant_of, not_found, plain_id
from api.http.problems import documented
from api.http.reading import record_all
from api.http.shown_event import covering, may_see
from api.http.story import identifiers, upto_of, wait
from api.http.story_shapes import CaseProof, Changes, ClientTimeline, ComposedCase, Knowledge
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.domain.case import stream_of
from ledger.errors import InvalidEvent, NotFound
from ledger.service.accesses import ClientNumber
from projections.accesses.model import ACCESSES
from projections.client_scope import client_of, is_in_scope
from projections.event_index.model import EVENT_INDEX
from projections.story.case import read_case
from projections.story.knowledge import last_before, read_changes, read_knowledge
from projections.story.timeline import Timeline, Window, read_timeline

router = APIRouter(tags=["cases"])


class ReadChanges(ReadRange):
    """Query parameters for what changed in a case: in what is known, or by what took place from `from` to `to`."""

    since: AsOf = Field(0, description="What changed after this ledger position, this time, or the end of this day.")

    @field_validator("since")
    @classmethod
    def _since_the_end_of_the_day(cls, value: int | datetime | date, info: ValidationInfo) -> int | datetime | None:
        return instant_of(times.last, value, info) if isinstance(value, date) else value

    @model_validator(mode="after")
    def _one_beginning(self) -> Self:
        if self.created_from is not None and "since" in self.model_fields_set:
            raise PydanticCustomError("one_beginning", "Input should have since or from, not both")
        return self


class ReadTimeline(ReadWindow):
    """Query parameters of a timeline."""

    limit: Annotated[int, Field(ge=1, le=2000), BeforeValidator(plain_id)] = Field(500, description="Events per page.")


@router.get("/clients/{client}/timeline", response_model=ClientTimeline, responses=documented(401, 403, 404, 422, 503))
async def get_timeline(
    services: InjectedServices, caller: MayReadCases, client: PathId, query: Annotated[ReadTimeline, Query()]
) -> Response:
    """Read everything that took place with a client within a time, by case, the oldest first.

    Roles: advisor, compliance, examiner.
    """
    # The rule of GET /access holds: a role for a list of clients may not see accesses, which may name other clients'
    # requests.
    listed = caller.actor.scope is not None and caller.actor.scope.listed is not None
    allowed = not listed and services.access_policy.scope("read who looked", caller.actor.role) is not None
    start, pinned = decode_cursor(query.cursor) if query.cursor is not None else (1, None)

    async def work(conn: AsyncConnection) -> tuple[Timeline, int]:
        upto = pinned if pinned is not None else await upto_of(conn, query.as_of)
        names = await identifiers(services, caller, conn, client, query, upto)
        await wait(services, conn, ACCESSES, query, upto)
        sees = await may_see(services, caller, conn, names)
        within = Window(start, upto, query.created_from, query.created_to)
        found = await read_timeline(conn, names, within, query.limit, may_see=sees, may_see_accesses=allowed)
        return found, upto

    try:
        timeline, upto = await services.ledger.readers.run(work)
    except NotFound:  # somebody looked
        await record_all(services, caller, query, (), 0)
        raise
    rows = sum(map(len, timeline.cases.values())) + len(timeline.registry)
    await record_all(services, caller, query, {*timeline.cases, ClientNumber(client)}, rows)
    following = timeline.next_position
    content = {
        "client": client,
        "as_of": upto,
        "first": timeline.first,
        "last": timeline.last,
        "cases": [{"request_id": number, "events": events} for number, events in timeline.cases.items()],
        "registry": timeline.registry,
        "accesses": timeline.accesses,
        "next_cursor": None if following is None else encode_cursor(following, upto),
    }
    return as_json(content, query)


@router.get("/cases/{request_id}", response_model=ComposedCase, responses=documented(401, 403, 404, 422, 503))
async def get_case(
    services: InjectedServices, caller: MayReadCases, request_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one case: request, what was recommended beside what was decided, all steps, and how far it is proven.

    Roles: advisor, compliance, examiner.
    """

    async def work(conn: AsyncConnection) -> dict[str, Any] | None:
        upto = await upto_of(conn, query.as_of)
        if not await _in_scope(services, caller, conn, stream_of(request_id)):
            return None
        sees = await may_see(services, caller, conn, [await client_of(conn, stream_of(request_id))])
        case = await read_case(conn, request_id, upto, may_see=sees)
        if case is None:
            return None
        last = case["events"][-1]["position"]
        proof = CaseProof(last_position=last, checkpoint=await covering(services, conn, last))
        return {**case, "proof": proof.model_dump()}

    return as_json(await _recorded(services, caller, request_id, query, work), query)


@router.get("/cases/{request_id}/knowledge", response_model=Knowledge, responses=documented(401, 403, 404, 422, 503))
async def get_knowledge(
    services: InjectedServices, caller: MayReadCases, request_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read what was known about a case at a moment, and what is known now.

    Inputs, the earlier recommendations that the model was shown, and the policies in force. Roles: advisor, compliance,
    examiner.
    """

    async def work(conn: AsyncConnection) -> dict[str, Any] | None:
        now = await upto_of(conn, None)
        upto = await upto_of(conn, query.as_of)
        if not await _in_scope(services, caller, conn, stream_of(request_id)):
            return None
        await wait(services, conn, EVENT_INDEX, query, upto)
        return await read_knowledge(conn, request_id, upto, now, lambda of: _in_scope(services, caller, conn, of))

    return as_json(await _recorded(services, caller, request_id, query, work), query)


@router.get("/cases/{request_id}/diff", response_model=Changes, responses=documented(401, 403, 404, 422, 503))
async def get_changes(
    services: InjectedServices, caller: MayReadCases, request_id: PathId, query: Annotated[ReadChanges, Query()]
) -> Response:
    """Read what changed in a case, field by field.

    With `since`, what became known after it. With `from` and `to`, what took place in between, as known at `as_of`: an
    imported event took place when its source says. Roles: advisor, compliance, examiner.
    """

    async def work(conn: AsyncConnection) -> dict[str, Any] | None:
        since, upto = await upto_of(conn, query.since), await upto_of(conn, query.as_of)
        start, end = query.created_from, query.created_to
        since = since if start is None else await last_before(conn, request_id, start, upto)
        upto = upto if end is None else await last_before(conn, request_id, end, upto)
        if since > upto:
            raise InvalidEvent("since", "this is after as_of: exchange them")
        if not await _in_scope(services, caller, conn, stream_of(request_id)):
            return None
        changes = await read_changes(conn, request_id, since, upto)
        return (
            None if changes is None else {"request_id": request_id, "since": since, "as_of": upto, "changes": changes}
        )

    return as_json(await _recorded(services, caller, request_id, query, work), query)


async def _in_scope(services: Services, caller: Reader, conn: AsyncConnection, stream: str) -> bool:
    """Return True if the reader may read about the client of a stream."""
    scope = caller.actor.scope
    return scope is None or await is_in_scope(conn, scope, stream, services.ledger.patience_s)


async def _recorded(
    services: Services,
    caller: Reader,
    request_id: int,
    query: ReadOne,
    work: Callable[[AsyncConnection], Awaitable[dict[str, Any] | None]],
) -> dict[str, Any]:
    """Read something about a case, and record that it is shown. Raises ApiError if there is no such request."""
    found = await services.ledger.readers.run(work)
    if found is None:
        raise not_found("request")
    await record_all(services, caller, query, {request_id}, 1)
    return found
