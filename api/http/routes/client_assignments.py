"""The route that assigns many clients at once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.assignment_lines import parse
from api.http.auth.permissions import MayAssign
from api.http.batches import RESPONSES, body_of_lines, read_lines, recorded
from api.http.json_body import USUAL
from api.services import InjectedServices
from ledger.service.bulk_assignments import MOST_LINES

LINES = (
    "One assignment on each line, of at most 1000: `client` (a number) or `client_id`, and the members of an"
    " assignment."
)

router = APIRouter(tags=["clients"])


class AssignedClients(BaseModel):
    """The batch is recorded: how many lines it had, and how many of them changed an assignment."""

    lines: int
    assigned: int


@router.post(
    "/client-assignments", response_model=AssignedClients, responses=RESPONSES, openapi_extra=body_of_lines(LINES)
)
async def assign_clients(services: InjectedServices, caller: MayAssign, request: Request) -> Response:
    """Assign many clients, all or none. Lines that change nothing are not recorded again. Roles: admin, compliance."""
    found = parse(await read_lines(request, USUAL, MOST_LINES))
    receipts = await services.ledger.assignments.assign(caller, found)
    return recorded({"lines": len(found), "assigned": len(receipts)}, receipts)
