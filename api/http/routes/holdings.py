"""The route that records the holdings of many portfolios at once."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.holdings_lines import parse
from api.http.auth.permissions import MayDefinePortfolios
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import NDJSON, Bounds, read_body
from api.http.parameters import RECORDED_HEADERS, as_json
from api.http.problems import ApiError, documented
from api.services import InjectedServices
from ledger.service.monitoring.bulk_holdings import MOST_LINES

# The headers of the last event, if there is one.
EVENT_HEADERS = ("Ledger-Position", "Ledger-Hash")
HOLDINGS = Bounds(MAX_REQUEST_BYTES, 0)

router = APIRouter(tags=["portfolios"])


class HoldingsOfMany(BaseModel):
    """The batch is recorded: how many lines it had, and how many of them were not on record already."""

    lines: int
    recorded: int


@router.post(
    "/holdings",
    response_model=HoldingsOfMany,
    responses={
        200: {"headers": {name: {**RECORDED_HEADERS[name], "required": False} for name in EVENT_HEADERS}},
        **documented(400, 401, 403, 413, 415, 422, 409, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "One portfolio on each line, of at most 1000: `portfolio`, and the members of holdings.",
            "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
        }
    },
)
async def record_holdings_of_many(
    services: InjectedServices, caller: MayDefinePortfolios, request: Request
) -> Response:
    """Record the holdings of many portfolios, all or none. What is on record is not recorded again. Role: advisor."""
    lines = (await read_body(request, HOLDINGS, NDJSON)).split(b"\n")
    if len(lines) > MOST_LINES + 1:
        raise ApiError("too-large", f"the body has over {MOST_LINES} lines: send several batches")
    found = parse(lines)
    receipts = await services.ledger.holdings.record(caller, found)
    answer = as_json({"lines": len(found), "recorded": len(receipts)})
    if receipts:
        answer.headers["Ledger-Position"] = str(receipts[-1].position)
        answer.headers["Ledger-Hash"] = receipts[-1].hash.hex()
    return answer
