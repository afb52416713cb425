"""Map spans to model calls: select the spans of models and their fields. Pure; docs/use/model-calls.md describes it.

Each span of a model becomes two events, model-call.started and model-call.completed or .failed. Their ids are derived
from the caller and the span, so a span that is sent again is a retry. A changed mapping gets a new MAPPER_VERSION. The
raw span is kept, sealed, so that the result of an older mapping can be checked. Fields in clear are kept for good, so
they take only codes, names and numbers from a sender (api/otlp/allowlist.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from pydantic import ValidationError

from api.otlp.allowlist import UNKNOWN, code, identifier, parameters
from api.otlp.attributes import MAX_TEXT_CHARS, Attributes, codes, count, first, name, plain, structured, text
from api.otlp.encoding import raw_span
from api.otlp.links import Links, NoLink
from api.otlp.messages import Messages, messages
from ledger.proof.format.canonical import NotCanonical, canonical
from ledger.service.command import CallEvents
from ledger.store.envelope import Actor, NewEvent, idempotent_id
from schema.events import Event, ModelCallCompleted, ModelCallFailed, ModelCallStarted

MAPPER_VERSION = "otlp-2"

MODEL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
# Spans around a model's span, which repeat its data, and the other activities of agents.
OTHER_OPERATIONS = frozenset(
    {"create_agent", "invoke_agent", "execute_tool", "invoke_workflow", "retrieval", "plan", "agent", "tool"}
)
REQUEST_PREFIX = "gen_ai.request."
# Limit on a span's resource and scope, which are recorded with each span.
MAX_CONTEXT_BYTES = 64 * 1024
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Kind = TypeVar("Kind", bound=Event)


class NotMapped(ValueError):
    """The span is of a model call but lacks a required value; the message names the attribute or field."""


@dataclass(frozen=True)
class Mapped:
    """The result of mapping an export. `refusals` have a span's id and the reason; `skipped` counts other spans."""

    calls: list[CallEvents] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    skipped: int = 0


@dataclass(frozen=True)
class SpanInContext:
    """A span with its resource and scope, and its attributes as plain JSON."""

    resource: ResourceSpans
    scope: ScopeSpans
    span: Span
    attributes: Attributes
    context_bytes: int

    @property
    def ids(self) -> tuple[str, str]:
        """The trace id and the span id, in hex."""
        return self.span.trace_id.hex(), self.span.span_id.hex()


def map_request(request: ExportTraceServiceRequest, actor: Actor) -> Mapped:
    """Map an export request that `actor` sent. Raises nothing: a span that cannot be mapped is refused."""
    # Senders list inner spans first, as these end first. The ledger records them in the order in which they began.
    spans = sorted(_spans(request), key=lambda item: item.span.start_time_unix_nano)
    links = Links((item.span, item.attributes, item.resource) for item in spans)
    mapped = Mapped(skipped=sum(not is_model_call(item.attributes) for item in spans))
    seen: dict[tuple[str, str], Span] = {}
    for item in spans:
        if not is_model_call(item.attributes):
            continue
        earlier = seen.setdefault(item.ids, item.span)
        if earlier is item.span:
            try:
                mapped.calls.append(_call(item, links, actor))
            except (NotMapped, NoLink) as reason:
                mapped.refusals.append(f"span {item.ids[1]}: {reason}")
        elif earlier != item.span:
            mapped.refusals.append(f"span {item.ids[1]}: another span of this export has the same id")
    return mapped


def is_model_call(attributes: Attributes) -> bool:
    """Return True if a span is of one request to a model.

    gen_ai.operation.name decides. If it is missing or unknown, a span that names a model and a provider is one.
    """
    operation = name(attributes.get("gen_ai.operation.name"))
    if operation in MODEL_OPERATIONS:
        return True
    if operation in OTHER_OPERATIONS:
        return False
    by_model = first(attributes, "gen_ai.request.model", "gen_ai.response.model") is not None
    return by_model and first(attributes, "gen_ai.provider.name", "gen_ai.system") is not None


def _spans(request: ExportTraceServiceRequest) -> Iterator[SpanInContext]:
    for resource in request.resource_spans:
        resource_bytes = resource.resource.ByteSize()
        for scope in resource.scope_spans:
            size = resource_bytes + scope.scope.ByteSize()
            for span in scope.spans:
                yield SpanInContext(resource, scope, span, plain(span.attributes), size)


def _call(item: SpanInContext, links: Links, actor: Actor) -> CallEvents:
    """Build the two events of a model's span. Raises NotMapped or NoLink."""
    trace_id, span_id = item.ids
    if not re.fullmatch("[0-9a-f]{32}", trace_id) or not int(trace_id, 16):
        raise NotMapped("traceId: not 16 bytes, or all zero")
    if not re.fullmatch("[0-9a-f]{16}", span_id) or not int(span_id, 16):
        raise NotMapped("spanId: not 8 bytes, or all zero")
    if item.context_bytes > MAX_CONTEXT_BYTES:
        raise NotMapped(f"resource: larger than {MAX_CONTEXT_BYTES} bytes with its scope")
    request_id = links.request_id(item.span)
    stream = f"trace-{trace_id}" if request_id is None else f"request-{request_id}"
    content = messages(item.span, item.attributes)
    key = f"otlp:{trace_id}:{span_id}"
    started = NewEvent(idempotent_id(actor.id, f"{key}:started"), stream, _started(item, content), actor)
    ended = NewEvent(
        idempotent_id(actor.id, f"{key}:ended"), stream, _ended(item, content), actor, causation=started.id
    )
    return CallEvents(stream, started, ended)


def _started(item: SpanInContext, content: Messages) -> ModelCallStarted:
    attributes = item.attributes
    trace_id, span_id = item.ids
    required = {
        "provider_name": _required(attributes, "gen_ai.provider.name", "gen_ai.system"),
        "request_model": _required(attributes, "gen_ai.request.model", "gen_ai.response.model"),
    }
    return _event(
        ModelCallStarted,
        **required,
        operation_name=_operation(attributes),
        request_parameters=_parameters(attributes),
        agent_version=identifier(attributes.get("gen_ai.agent.version")),
        prompt_name=identifier(attributes.get("gen_ai.prompt.name")),
        tool_definitions_sha256=_digest(attributes.get("gen_ai.tool.definitions")),
        system_instructions=content.system_instructions,
        input_messages=content.input,
        capture="otlp",
        mapper_version=MAPPER_VERSION,
        trace_id=trace_id,
        span_id=span_id,
        claimed_start=_time(item.span.start_time_unix_nano),
    )


def _ended(item: SpanInContext, content: Messages) -> ModelCallCompleted | ModelCallFailed:
    attributes, span = item.attributes, item.span
    took_ns = span.end_time_unix_nano - span.start_time_unix_nano
    common = {
        "latency_ms": took_ns // NS_PER_MS if span.start_time_unix_nano and took_ns >= 0 else None,
        "raw_span": raw_span(item.resource, item.scope, span),
    }
    if span.status.code == Status.STATUS_CODE_ERROR or attributes.get("error.type") is not None:
        kind, detail = _fault(span, attributes)
        return _event(ModelCallFailed, error_type=kind, detail=detail, **common)
    return _event(
        ModelCallCompleted,
        response_id=identifier(attributes.get("gen_ai.response.id")),
        response_model=identifier(attributes.get("gen_ai.response.model")),
        response_finish_reasons=codes(attributes.get("gen_ai.response.finish_reasons")),
        usage_input_tokens=count(first(attributes, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")),
        usage_output_tokens=count(first(attributes, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")),
        output_messages=content.output,
        **common,
    )


def _event(kind: type[Kind], **members: Any) -> Kind:
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        [fault, *_] = error.errors(include_input=False)
        raise NotMapped(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error


def _required(attributes: Attributes, *keys: str) -> str:
    """Return the name in the first of these attributes; `unknown` if it is free text. Raises NotMapped."""
    value = name(first(attributes, *keys))
    if value is None:
        raise NotMapped(f"{keys[0]}: missing, or not a text of 1 to 200 characters")
    return identifier(value) or UNKNOWN


def _operation(attributes: Attributes) -> str:
    operation = name(attributes.get("gen_ai.operation.name"))
    return "chat" if operation is None else code(operation) or UNKNOWN


def _parameters(attributes: Attributes) -> Attributes | None:
    """Read gen_ai.request.* without the prefix, with _ for dots."""
    return parameters(
        {
            key.removeprefix(REQUEST_PREFIX).replace(".", "_"): value
            for key, value in attributes.items()
            if key.startswith(REQUEST_PREFIX)
        }
    )


def _fault(span: Span, attributes: Attributes) -> tuple[str, str | None]:
    """Return the error type, in clear, and the detail. Free text in place of a type becomes part of the detail."""
    thrown = next((plain(event.attributes) for event in span.events if event.name == "exception"), {})
    kinds = [attributes.get("error.type"), thrown.get("exception.type")]
    message = text(span.status.message) or text(thrown.get("exception.message"))
    words = [*(text(kind) for kind in kinds if code(kind) is None), message]
    detail = ": ".join(filter(None, words))[:MAX_TEXT_CHARS]
    return next(filter(None, map(code, kinds)), UNKNOWN), detail or None


def _digest(definitions: Any) -> str | None:
    """Return the SHA-256 of tool definitions in canonical JSON, text as a string; None if there is no such form."""
    if definitions is None:
        return None
    try:
        return sha256(canonical(structured(definitions))).hexdigest()
    except NotCanonical:
        return None


def _time(nanoseconds: int) -> str | None:
    """Format a time as RFC 3339 with nine digits; 0 means unknown and gives None."""
    if not nanoseconds:
        return None
    seconds, rest = divmod(nanoseconds, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
