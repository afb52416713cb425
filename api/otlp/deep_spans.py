"""Exports that cannot be read whole, as a span in them is nested deeper than protobuf goes: all the other spans.

Protobuf reads a hundred messages within each other, and says no more of what is deeper than that it is no export.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped] # no types are published for it
from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # as above
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

# Messages within each other in a span; the export, its resource and its scope are around it.
MAX_SPAN_DEPTH = 97
TOO_DEEP = "nested too deep to be read"
PACKAGE = "advice_ledger.apart"


@dataclass(frozen=True)
class Decoded:
    """An export request; `refusals` are of spans that had to be left out, and say which and why."""

    request: ExportTraceServiceRequest
    refusals: list[str] = field(default_factory=list)


def without_deep_spans(content: dict[str, Any]) -> list[str]:
    """Takes the spans that are too deep out of an export request as JSON; which these were."""
    refusals = []
    for number, resource in enumerate(members(content, "resourceSpans")):
        for inner, scope in enumerate(members(resource, "scopeSpans")):
            spans = members(scope, "spans")
            deep = [place for place, span in enumerate(spans) if _depth(span) > MAX_SPAN_DEPTH]
            if deep:
                scope["spans"] = [span for place, span in enumerate(spans) if place not in deep]
                refusals += [_refusal(number, inner, place) for place in deep]
    return refusals


def members(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in a list; what is not of the right type is left for the parser to refuse."""
    found = content.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _depth(span: dict[str, Any]) -> int:
    """Objects within each other: in OTLP's JSON each is a message. Not recursive, as there may be a thousand."""
    deepest = 0
    left: list[tuple[Iterator[Any], int]] = [(iter([span]), 0)]
    while left:
        values, depth = left[-1]
        value = next(values, left)
        if value is left:
            left.pop()
        elif isinstance(value, dict):
            deepest = max(deepest, depth + 1)
            left.append((iter(value.values()), depth + 1))
        elif isinstance(value, list):
            left.append((iter(value), depth))
    return deepest


def span_by_span(body: bytes) -> Decoded:
    """An export request in protobuf without those of its spans that cannot be read. Raises DecodeError."""
    kind = _export_class()
    apart = kind.FromString(body)
    found = Decoded(ExportTraceServiceRequest())
    for number, outer in enumerate(apart.resource_spans):
        resource = found.request.resource_spans.add(schema_url=outer.schema_url)
        resource.resource.ParseFromString(outer.resource)
        for inner, around in enumerate(outer.scope_spans):
            scope = resource.scope_spans.add(schema_url=around.schema_url)
            scope.scope.ParseFromString(around.scope)
            for place, content in enumerate(around.spans):
                try:
                    scope.spans.append(_span(kind, content))
                except DecodeError:
                    found.refusals.append(_refusal(number, inner, place))
    return found


def _span(kind: Any, content: bytes) -> Span:
    """Read within an export of its own, so that it is no deeper than in one that is read whole. Raises DecodeError."""
    alone = kind(resource_spans=[{"scope_spans": [{"spans": [content]}]}]).SerializeToString()
    request = ExportTraceServiceRequest()
    request.ParseFromString(alone)
    found: Span = request.resource_spans[0].scope_spans[0].spans[0]
    return found


def _refusal(resource: int, scope: int, span: int) -> str:
    return f"span resourceSpans[{resource}].scopeSpans[{scope}].spans[{span}]: {TOO_DEEP}"


def _export_class() -> Any:
    """ExportTraceServiceRequest with the numbers that OTLP gives its fields, and what is not looked into as bytes."""
    file = descriptor_pb2.FileDescriptorProto(name="advice_ledger/apart.proto", package=PACKAGE, syntax="proto3")
    for name, fields in (
        ("Export", [("resource_spans", 1, "Resource")]),
        ("Resource", [("resource", 1, bytes), ("scope_spans", 2, "Scope"), ("schema_url", 3, str)]),
        ("Scope", [("scope", 1, bytes), ("spans", 2, [bytes]), ("schema_url", 3, str)]),
    ):
        file.message_type.add(name=name).field.extend(_fields(fields))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Export"))


def _fields(wanted: list[tuple[str, int, Any]]) -> Iterator[Any]:
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, number, kind in wanted:
        made = kinds(name=name, number=number, label=kinds.LABEL_OPTIONAL, type=kinds.TYPE_BYTES)
        if kind is str:
            made.type = kinds.TYPE_STRING
        elif isinstance(kind, str):
            made.type, made.type_name, made.label = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}", kinds.LABEL_REPEATED
        elif kind == [bytes]:
            made.label = kinds.LABEL_REPEATED
        yield made
