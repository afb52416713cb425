"""From spans to model calls: which spans are one, and what of them is recorded where. Pure; docs/use/model-calls.md has it.

Each span of a model becomes two events, model-call.started and model-call.completed or .failed, with ids that follow
from the caller and the span: the same span sent again is a replay. A changed mapping is a new MAPPER_VERSION; the raw
span is kept, sealed, so that what an older one made of it can be judged. What is in clear is there for good, so of what
a sender may have put there only names and figures are (api/otlp/allowlist.py).
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
from api.otlp.deep_spans import Decoded
from api.otlp.encoding import raw_span
from api.otlp.links import Links, NoLink
from api.otlp.messages import Messages, messages
from ledger.proof.format.canonical import NotCanonical, canonical
from ledger.service.command import CallEvents
from ledger.store.envelope import Actor, NewEvent, idempotent_id
from schema.events import Event, ModelCallCompleted, ModelCallFailed, ModelCallStarted

MAPPER_VERSION = "otlp-2"

MODEL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
# Spans around a model's, which repeat what it says, and what agents do besides.
OTHER_OPERATIONS = frozenset(
    {"create_agent", "invoke_agent", "execute_tool", "invoke_workflow", "retrieval", "plan", "agent", "tool"}
)
REQUEST_PREFIX = "gen_ai.request."
# Of a span's resource and scope, which are recorded with each span.
MAX_SURROUNDINGS_BYTES = 64 * 1024
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Kind = TypeVar("Kind", bound=Event)


class NotMapped(ValueError):
    """The span is of a model call, but lacks what a record needs; the message names the attribute or field."""


@dataclass(frozen=True)
class Mapped:
    """What an export request came to; `refusals` are of spans, by id, and say why."""

    calls: list[CallEvents] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    skipped: int = 0


@dataclass(frozen=True)
class Found:
    """A span in its surroundings, with its attributes read."""

    resource: ResourceSpans
    scope: ScopeSpans
    span: Span
    attributes: Attributes
    surroundings_bytes: int

    @property
    def ids(self) -> tuple[str, str]:
        """Trace and span id, in hex."""
        return self.span.trace_id.hex(), self.span.span_id.hex()


def map_request(decoded: Decoded, actor: Actor) -> Mapped:
    """The model calls in an export request, as sent by `actor`. Raises nothing: what cannot be mapped is refused."""
    request = decoded.request
    # Ended spans come inner ones first; the ledger has them in the order in which they began.
    every = sorted(_spans(request), key=lambda one: one.span.start_time_unix_nano)
    links = Links((one.span, one.attributes, one.resource) for one in every)
    mapped = Mapped(refusals=[*decoded.refusals], skipped=sum(not is_model_call(one.attributes) for one in every))
    seen: dict[tuple[str, str], Span] = {}
    for one in every:
        if not is_model_call(one.attributes):
            continue
        earlier = seen.setdefault(one.ids, one.span)
        if earlier is one.span:
            try:
                mapped.calls.append(_call(one, links, actor))
            except (NotMapped, NoLink) as reason:
                mapped.refusals.append(f"span {one.ids[1]}: {reason}")
        elif earlier != one.span:
            mapped.refusals.append(f"span {one.ids[1]}: another span of this export has the same id")
    return mapped


def is_model_call(attributes: Attributes) -> bool:
    """Whether a span is of one request to a model.

    By its gen_ai.operation.name; for others than the well-known ones, and where there is none, by whether it names a
    model and a provider.
    """
    operation = name(attributes.get("gen_ai.operation.name"))
    if operation in MODEL_OPERATIONS:
        return True
    if operation in OTHER_OPERATIONS:
        return False
    by_model = first(attributes, "gen_ai.request.model", "gen_ai.response.model") is not None
    return by_model and first(attributes, "gen_ai.provider.name", "gen_ai.system") is not None


def _spans(request: ExportTraceServiceRequest) -> Iterator[Found]:
    for resource in request.resource_spans:
        resource_bytes = resource.resource.ByteSize()
        for scope in resource.scope_spans:
            size = resource_bytes + scope.scope.ByteSize()
            for span in scope.spans:
                yield Found(resource, scope, span, plain(span.attributes), size)


def _call(one: Found, links: Links, actor: Actor) -> CallEvents:
    """Raises NotMapped or NoLink."""
    trace_id, span_id = one.ids
    if not re.fullmatch("[0-9a-f]{32}", trace_id) or not int(trace_id, 16):
        raise NotMapped("traceId: not 16 bytes, or all zero")
    if not re.fullmatch("[0-9a-f]{16}", span_id) or not int(span_id, 16):
        raise NotMapped("spanId: not 8 bytes, or all zero")
    if one.surroundings_bytes > MAX_SURROUNDINGS_BYTES:
        raise NotMapped(f"resource: with its scope over {MAX_SURROUNDINGS_BYTES} bytes")
    request_id = links.request_id(one.span)
    stream = f"trace-{trace_id}" if request_id is None else f"request-{request_id}"
    said = messages(one.span, one.attributes)
    key = f"otlp:{trace_id}:{span_id}"
    started = NewEvent(idempotent_id(actor.id, f"{key}:started"), stream, _started(one, said), actor)
    ended = NewEvent(idempotent_id(actor.id, f"{key}:ended"), stream, _ended(one, said), actor, causation=started.id)
    return CallEvents(stream, started, ended)


def _started(one: Found, said: Messages) -> ModelCallStarted:
    given = one.attributes
    trace_id, span_id = one.ids
    needed = {
        "provider_name": _needed(given, "gen_ai.provider.name", "gen_ai.system"),
        "request_model": _needed(given, "gen_ai.request.model", "gen_ai.response.model"),
    }
    return _event(
        ModelCallStarted,
        **needed,
        operation_name=_operation(given),
        request_parameters=_parameters(given),
        agent_version=identifier(given.get("gen_ai.agent.version")),
        prompt_name=identifier(given.get("gen_ai.prompt.name")),
        tool_definitions_sha256=_digest(given.get("gen_ai.tool.definitions")),
        system_instructions=said.system_instructions,
        input_messages=said.input,
        capture="otlp",
        mapper_version=MAPPER_VERSION,
        trace_id=trace_id,
        span_id=span_id,
        claimed_start=_time(one.span.start_time_unix_nano),
    )


def _ended(one: Found, said: Messages) -> ModelCallCompleted | ModelCallFailed:
    given, span = one.attributes, one.span
    took_ns = span.end_time_unix_nano - span.start_time_unix_nano
    common = {
        "latency_ms": took_ns // NS_PER_MS if span.start_time_unix_nano and took_ns >= 0 else None,
        "raw_span": raw_span(one.resource, one.scope, span),
    }
    if span.status.code == Status.STATUS_CODE_ERROR or given.get("error.type") is not None:
        kind, detail = _fault(span, given)
        return _event(ModelCallFailed, error_type=kind, detail=detail, **common)
    return _event(
        ModelCallCompleted,
        response_id=identifier(given.get("gen_ai.response.id")),
        response_model=identifier(given.get("gen_ai.response.model")),
        response_finish_reasons=codes(given.get("gen_ai.response.finish_reasons")),
        usage_input_tokens=count(first(given, "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")),
        usage_output_tokens=count(first(given, "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")),
        output_messages=said.output,
        **common,
    )


def _event(kind: type[Kind], **members: Any) -> Kind:
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        [fault, *_] = error.errors(include_input=False)
        raise NotMapped(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error


def _needed(attributes: Attributes, *keys: str) -> str:
    """The name that the first of these attributes has; `unknown` where it is text of another kind. Raises NotMapped."""
    found = name(first(attributes, *keys))
    if found is None:
        raise NotMapped(f"{keys[0]}: missing, or not a text of 1 to 200 characters")
    return identifier(found) or UNKNOWN


def _operation(attributes: Attributes) -> str:
    found = name(attributes.get("gen_ai.operation.name"))
    return "chat" if found is None else code(found) or UNKNOWN


def _parameters(attributes: Attributes) -> Attributes | None:
    """What the model was asked with besides messages: gen_ai.request.*, without the prefix and with _ for dots."""
    return parameters(
        {
            key.removeprefix(REQUEST_PREFIX).replace(".", "_"): value
            for key, value in attributes.items()
            if key.startswith(REQUEST_PREFIX)
        }
    )


def _fault(span: Span, attributes: Attributes) -> tuple[str, str | None]:
    """What kind of failure, in clear, and in words; a kind that is words itself is among these."""
    thrown = next((plain(event.attributes) for event in span.events if event.name == "exception"), {})
    kinds = [attributes.get("error.type"), thrown.get("exception.type")]
    message = text(span.status.message) or text(thrown.get("exception.message"))
    words = [*(text(kind) for kind in kinds if code(kind) is None), message]
    detail = ": ".join(filter(None, words))[:MAX_TEXT_CHARS]
    return next(filter(None, map(code, kinds)), UNKNOWN), detail or None


def _digest(definitions: Any) -> str | None:
    """SHA-256 of tool definitions as canonical JSON; of the text where they are none."""
    if definitions is None:
        return None
    found = structured(definitions)
    try:
        return sha256(canonical(found)).hexdigest()
    except NotCanonical:
        return None


def _time(nanoseconds: int) -> str | None:
    """A time as RFC 3339 with all its nine digits; None for 0, which says that it is not known."""
    if not nanoseconds:
        return None
    seconds, rest = divmod(nanoseconds, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
