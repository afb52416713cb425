"""Log records in OTLP's JSON."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from tests.api.otlp.spans import SPAN, START_NS, TRACE, attributes, value
from tests.api.otlp.test_traces import JSON
from tests.api.served import Api

DETAILS = "gen_ai.client.inference.operation.details"


def record(given: dict[str, Any] | None = None, body: Any = None, **members: Any) -> dict[str, Any]:
    """Write a log record with these attributes and this body, by default an event of a model call."""
    written = {
        "timeUnixNano": str(START_NS),
        "eventName": DETAILS,
        "traceId": TRACE,
        "spanId": SPAN,
        "attributes": attributes(given or {}),
        **members,
    }
    return written if body is None else {**written, "body": value(body)}


def export(*records: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write an export request."""
    scope = {"scope": {"name": "my.library", "version": "1.0"}, "logRecords": list(records)}
    return {"resourceLogs": [{"resource": {"attributes": attributes(resource or {})}, "scopeLogs": [scope]}]}


def post(api: Api, body: Any, kind: str = JSON, role: str | None = "agent", **headers: str) -> httpx.Response:
    """Post an export of log records, as bytes or as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return api.call("POST", "/v1/logs", role, content=content, headers={"Content-Type": kind, **headers})
