"""What routes share that record a batch: lines of NDJSON, all of them recorded or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from api.http.json_body import NDJSON, Bounds, read_body
from api.http.parameters import RECORDED_HEADERS, as_json
from api.http.problems import ApiError, documented
from ledger.store.events import Receipt

# The headers of the last event, if there is one.
EVENT_HEADERS = ("Ledger-Position", "Ledger-Hash")
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"headers": {name: {**RECORDED_HEADERS[name], "required": False} for name in EVENT_HEADERS}},
    **documented(400, 401, 403, 413, 415, 422, 409, 503),
}


def body_of_lines(description: str) -> dict[str, Any]:
    """Return what the OpenAPI document says of the body."""
    content = {"application/x-ndjson": {"schema": {"type": "string"}}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


async def read_lines(request: Request, bounds: Bounds, most: int) -> list[bytes]:
    """Read the lines of a body. Raises ApiError for a body that is too large, of another type, or of over `most`."""
    lines = (await read_body(request, bounds, NDJSON)).split(b"\n")
    if len(lines) > most + 1:
        raise ApiError("too-large", f"the body has over {most} lines: send several batches")
    return lines


def recorded(content: Mapping[str, int], receipts: Sequence[Receipt]) -> Response:
    """Answer with this content, and with the headers of the last event."""
    answer = as_json(content)
    if receipts:
        answer.headers["Ledger-Position"] = str(receipts[-1].position)
        answer.headers["Ledger-Hash"] = receipts[-1].hash.hex()
    return answer
