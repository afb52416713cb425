"""Spans in OTLP's JSON, and their mapping."""

from __future__ import annotations

from typing import Any

import orjson

from api.otlp import encoding
from api.otlp.mapper import Mapped, map_request
from api.otlp.signals import TRACES
from ledger.store.envelope import Actor
from schema.events import ModelCallCompleted, ModelCallFailed, ModelCallStarted

AGENT = Actor("agent", "agent", "agent")
TRACE, SPAN = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174"
START_NS, END_NS = 1_700_000_000_123_456_789, 1_700_000_002_000_000_000
MODEL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5"}


def value(of: Any) -> dict[str, Any]:
    """Write an AnyValue."""
    match of:
        case bool():
            return {"boolValue": of}
        case int():
            return {"intValue": str(of)}
        case float():
            return {"doubleValue": of}
        case list():
            return {"arrayValue": {"values": [value(item) for item in of]}}
        case dict():
            return {"kvlistValue": {"values": attributes(of)}}
    return {"stringValue": of}


def attributes(of: dict[str, Any]) -> list[dict[str, Any]]:
    """Write attributes as OTLP's list."""
    return [{"key": key, "value": value(one)} for key, one in of.items()]


def span(given: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """Write a span with these attributes, by default of a model call."""
    return {
        "traceId": TRACE,
        "spanId": SPAN,
        "name": "chat gpt-5",
        "kind": 3,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(END_NS),
        "attributes": attributes({**MODEL, **(given or {})}),
        **members,
    }


def export(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write an export request."""
    scope = {"scope": {"name": "my.library", "version": "1.0"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": attributes(resource or {})}, "scopeSpans": [scope]}]}


def mapped(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> Mapped:
    """Map these spans."""
    return map_request(
        encoding.decode(orjson.dumps(export(*spans, resource=resource)), "application/json", TRACES), AGENT
    )


def one(*spans: dict[str, Any], resource: dict[str, Any] | None = None) -> tuple[str, ModelCallStarted, Any]:
    """Return stream, start and end of the one call in these spans."""
    found = mapped(*spans, resource=resource)
    assert found.refusals == []
    [call] = found.calls
    assert isinstance(call.started.event, ModelCallStarted)
    assert isinstance(call.ended.event, ModelCallCompleted | ModelCallFailed)
    return call.stream, call.started.event, call.ended.event
