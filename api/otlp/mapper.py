"""Map spans to model calls: select the spans of models in any dialect. Pure; docs/use/model-calls.md describes it.

Each span of a model becomes two events, model-call.started and model-call.completed or .failed. Their ids are derived
from the caller and the span, so a span that is sent again is a retry. A changed mapping gets a new MAPPER_VERSION
(api/otlp/call_members.py). The raw span is kept, sealed, so that the result of an older mapping can be checked. Fields
in clear are kept for good, so they take only codes, names and numbers from a sender (api/otlp/allowlist.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.otlp.attributes import plain
from api.otlp.call_members import NotMapped, SpanInContext, check_ids, ended, started
from api.otlp.dialects.recognise import Recognised, dialect_of_lookalike, recognise
from api.otlp.links import Links, NoLink
from api.otlp.messages import messages
from api.otlp.not_recorded import NotRecorded, lookalike
from ledger.service.command import CallEvents
from ledger.store.envelope import Actor, NewEvent, idempotent_id

# Limit on a span's resource and scope, which are recorded with each span.
MAX_CONTEXT_BYTES = 64 * 1024


@dataclass(frozen=True)
class MappedCall(CallEvents):
    """A model call, with the id of its span in hex, and the dialect that it was recognised by."""

    span_id: str
    dialect: str


@dataclass(frozen=True)
class Mapped:
    """The result of mapping an export. Spans in neither list do not belong to a model call."""

    calls: list[MappedCall] = field(default_factory=list)
    refusals: list[NotRecorded] = field(default_factory=list)


def map_request(request: ExportTraceServiceRequest, actor: Actor) -> Mapped:
    """Map an export request that `actor` sent. Raises nothing: a span that cannot be mapped is refused."""
    # Senders list inner spans first, because these end first. The ledger records them in the order in which they
    # began.
    spans = sorted(_spans(request), key=lambda item: item.span.start_time_unix_nano)
    links = Links((item.span, item.attributes, item.resource) for item in spans)
    mapped = Mapped()
    seen: dict[tuple[str, str], Span] = {}
    for item in spans:
        found = recognise(item.attributes)
        if found is None:
            if (dialect := dialect_of_lookalike(item.attributes, item.events)) is not None:
                mapped.refusals.append(lookalike("span", dialect))
        elif seen.setdefault(item.ids, item.span) is item.span:
            try:
                mapped.calls.append(_call(item, found, links, actor))
            except (NotMapped, NoLink) as error:
                mapped.refusals.append(NotRecorded(found.dialect, error.reason, f"span {item.ids[1]}: {error}"))
        elif seen[item.ids] != item.span:
            message = f"span {item.ids[1]}: another span of this export has the same id"
            mapped.refusals.append(NotRecorded(found.dialect, "same-id", message))
    return mapped


def call_event_id(actor_id: str, trace_id: str, span_id: str, which: str) -> UUID:
    """Return the id of the event of a span's call that `which` names: started or ended."""
    return idempotent_id(actor_id, f"otlp:{trace_id}:{span_id}:{which}")


def _spans(request: ExportTraceServiceRequest) -> Iterator[SpanInContext]:
    for resource in request.resource_spans:
        resource_bytes = resource.resource.ByteSize()
        for scope in resource.scope_spans:
            size = resource_bytes + scope.scope.ByteSize()
            for span in scope.spans:
                yield SpanInContext(resource, scope, span, plain(span.attributes), size)


def _call(item: SpanInContext, found: Recognised, links: Links, actor: Actor) -> MappedCall:
    """Build the two events of a model's span. Raises NotMapped or NoLink."""
    trace_id, span_id = check_ids(*item.ids)
    if item.context_bytes > MAX_CONTEXT_BYTES:
        raise NotMapped("resource-too-large", f"resource: larger than {MAX_CONTEXT_BYTES} bytes with its scope")
    request_id = links.request_id(item.span)
    stream = f"trace-{trace_id}" if request_id is None else f"request-{request_id}"
    content = messages(item.attributes, item.events, found.attributes)
    first_id, last_id = (call_event_id(actor.id, trace_id, span_id, which) for which in ("started", "ended"))
    return MappedCall(
        stream,
        NewEvent(first_id, stream, started(item, found.attributes, content), actor),
        NewEvent(last_id, stream, ended(item, found.attributes, content), actor, causation=first_id),
        span_id,
        found.dialect,
    )
