"""Share parts of routes that record a batch: lines of NDJSON, of which all are recorded or none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from api.http.json_body import NDJSON, Bounds, Form, read_body
from api.http.parameters import RECORDED_HEADERS, as_json
from api.http.problems import ApiError, documented
from api.input_lines import csv_lines
from ledger.store.events import Receipt

CSV = "text/csv"
LINES_OR_CSV = Form(
    re.compile(r"(application/(x-)?ndjson|text/csv)\s*(;|$)", re.ASCII | re.IGNORECASE),
    f"send Content-Type: application/x-ndjson or {CSV}",
)
# The headers of the last event, if there is one.
EVENT_HEADERS = ("Ledger-Position", "Ledger-Hash")
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"headers": {name: {**RECORDED_HEADERS[name], "required": False} for name in EVENT_HEADERS}},
    **documented(400, 401, 403, 413, 415, 422, 409, 503),
}


def body_of_lines(description: str, *others: str) -> dict[str, Any]:
    """Return what the OpenAPI document says of the body: NDJSON, or one of these other types."""
    content = {kind: {"schema": {"type": "string"}} for kind in ("application/x-ndjson", *others)}
    return {"requestBody": {"required": True, "description": description, "content": content}}


async def read_rows(
    request: Request, bounds: Bounds, most: int, rows: Callable[[list[bytes]], list[bytes]] | None = None
) -> list[bytes]:
    """Read the lines of a body, or the rows of a CSV as such lines. Raises ApiError or InvalidLines.

    `rows` joins rows of a CSV that make up one line.
    """
    body = await read_body(request, bounds, LINES_OR_CSV)
    is_csv = request.headers["content-type"].strip().lower().startswith(CSV)
    lines = await asyncio.to_thread(csv_lines, body) if is_csv else body.split(b"\n")
    if is_csv and rows is not None:
        lines = await asyncio.to_thread(rows, lines)
    if sum(bool(line.strip()) for line in lines) > most:
        raise ApiError("too-large", f"the body has over {most} lines: send several batches")
    return lines


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
