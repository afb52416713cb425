"""The route that assigns many clients at once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.assignment_lines import parse
from api.http.auth.permissions import MayAssign
from api.http.json_body import NDJSON, USUAL, read_body
from api.http.parameters import RECORDED_HEADERS, as_json
from api.http.problems import ApiError, documented
from api.services import InjectedServices
from ledger.service.bulk_assignments import MOST_LINES

# The headers of the last event, if there is one.
EVENT_HEADERS = ("Ledger-Position", "Ledger-Hash")

router = APIRouter(tags=["clients"])


class AssignedClients(BaseModel):
    """The batch is recorded: how many lines it had, and how many of them changed an assignment."""

    lines: int
    assigned: int


@router.post(
    "/client-assignments",
    response_model=AssignedClients,
    responses={
        200: {"headers": {name: {**RECORDED_HEADERS[name], "required": False} for name in EVENT_HEADERS}},
        **documented(400, 401, 403, 413, 415, 422, 409, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "One assignment on each line, of at most 1000: `client` (a number) or `client_id`, and the "
            "members of an assignment.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def assign_clients(services: InjectedServices, caller: MayAssign, request: Request) -> Response:
    """Assign many clients, all or none. Lines that change nothing are not recorded again. Roles: admin, compliance."""
    lines = (await read_body(request, USUAL, NDJSON)).split(b"\n")
    if len(lines) > MOST_LINES + 1:
        raise ApiError("too-large", f"the body has over {MOST_LINES} lines: send several batches")
    found = parse(lines)
    receipts = await services.ledger.assignments.assign(caller, found)
    answer = as_json({"lines": len(found), "assigned": len(receipts)})
    if receipts:
        answer.headers["Ledger-Position"] = str(receipts[-1].position)
        answer.headers["Ledger-Hash"] = receipts[-1].hash.hex()
    return answer
