"""Count what an export request in protobuf would build, by a walk over its bytes that builds nothing.

Four bytes make a span, and a span costs a hundred times that in memory; resource and scope are recorded again with
each of their spans. So counts are bounded, and the walk ends at the first bound that is passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

MAX_RESOURCES = 1_000
MAX_SCOPES = 2_000
MAX_SPANS = 5_000
# Fields in all messages, those of a resource and a scope once for each of their spans.
MAX_FIELDS = 250_000

ADVICE = "send fewer spans an export (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or send_batch_max_size of a collector)"


class TooMany(ValueError):
    """The export has too many of something; the message names it and says what to do."""

    def __init__(self, most: int, what: str) -> None:
        super().__init__(f"the export has more than {most} {what}: {ADVICE}")


@dataclass
class _Kind:
    """The numbers of a message's fields that are messages themselves, with their kinds."""

    messages: dict[int, _Kind] = field(default_factory=dict)


def _kind(descriptor: Any, known: dict[str, _Kind]) -> _Kind:
    kind = known.get(descriptor.full_name)
    if kind is None:
        kind = known[descriptor.full_name] = _Kind()
        for member in descriptor.fields:
            if member.message_type is not None:
                kind.messages[member.number] = _kind(member.message_type, known)
    return kind


@dataclass(frozen=True)
class _Level:
    """Messages that nest in an export, with their field in the message around them, and their bound."""

    number: int
    most: int
    name: str


REQUEST = _kind(ExportTraceServiceRequest.DESCRIPTOR, {})
RESOURCES = _Level(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, MAX_RESOURCES, "resources")
SCOPES = _Level(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, MAX_SCOPES, "scopes")
SPANS = _Level(ScopeSpans.SPANS_FIELD_NUMBER, MAX_SPANS, "spans")
# The bytes of a field of each wire type that has a fixed size.
SIZES = {1: 8, 5: 4}


def check_counts(body: bytes) -> None:
    """Raise TooMany if the export passes a bound, and ValueError or IndexError if it is not protobuf."""
    _Counter(body).request()


class _Counter:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._spans = 0
        self._scopes = 0
        # Visited and built fields: the first bounds the walk itself, the second what comes after it.
        self._visited = 0
        self._built = 0

    def request(self) -> None:
        resources, _ = self._level(0, len(self._body), REQUEST, RESOURCES)
        resource_spans = REQUEST.messages[RESOURCES.number]
        for start, end in resources:
            scopes, fields = self._level(start, end, resource_spans, SCOPES)
            self._scopes += len(scopes)
            _bound(self._scopes, SCOPES)
            for scope in scopes:
                self._scope(*scope, resource_spans.messages[SCOPES.number], fields)

    def _scope(self, start: int, end: int, scope_spans: _Kind, resource_fields: int) -> None:
        spans, fields = self._level(start, end, scope_spans, SPANS)
        self._spans += len(spans)
        _bound(self._spans, SPANS)
        self._built += len(spans) * (resource_fields + fields)
        if self._built > MAX_FIELDS:
            raise TooMany(MAX_FIELDS, "fields, those of a resource once for each of its spans")
        for span in spans:
            self._built += self._count(*span, scope_spans.messages[SPANS.number])

    def _level(self, start: int, end: int, kind: _Kind, level: _Level) -> tuple[list[tuple[int, int]], int]:
        """Return where the messages of one field are, and the count of fields in all others."""
        messages: list[tuple[int, int]] = []
        others = 0
        for found, at, stop in self._fields(start, end):
            if found == level.number:
                messages.append((at, stop))
                _bound(len(messages), level)
            else:
                inner = kind.messages.get(found)
                others += 1 + (self._count(at, stop, inner) if inner is not None else 0)
        return messages, others

    def _count(self, start: int, end: int, kind: _Kind) -> int:
        """Count the fields of a message and of those in it, without recursion."""
        count = 0
        waiting = [(start, end, kind)]
        while waiting:
            start, end, kind = waiting.pop()
            for number, at, stop in self._fields(start, end):
                count += 1
                inner = kind.messages.get(number)
                if inner is not None:
                    waiting.append((at, stop, inner))
        return count

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end of each field of a message; start and end are the same for plain numbers."""
        while at < end:
            self._visited += 1
            if self._visited > MAX_FIELDS:
                raise TooMany(MAX_FIELDS, "fields")
            key, at = self._varint(at)
            match key & 7:
                case 2:
                    size, at = self._varint(at)
                    stop = at + size
                    if stop > end:
                        raise ValueError("a field is longer than its message")
                    yield key >> 3, at, stop
                    at = stop
                case 0:
                    _, at = self._varint(at)
                    yield key >> 3, at, at
                case 1 | 5 as wire:
                    at += SIZES[wire]
                    yield key >> 3, at, at
                case 6 | 7:
                    raise ValueError("there is no such wire type")
                case _:
                    pass  # a group's begin or end: the fields in it are counted as the message's own

    def _varint(self, at: int) -> tuple[int, int]:
        byte = self._body[at]
        value, shift = byte & 127, 7
        at += 1
        while byte > 127:
            if shift > 63:
                raise ValueError("a number has more than ten bytes")
            byte = self._body[at]
            value |= (byte & 127) << shift
            shift += 7
            at += 1
        return value, at


def _bound(count: int, level: _Level) -> None:
    if count > level.most:
        raise TooMany(level.most, level.name)
