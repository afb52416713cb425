"""Build the start and the end of a model call from a span whose attributes are in the names of `gen_ai.*`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from pydantic import TypeAdapter, ValidationError

from api.otlp.allowlist import UNKNOWN, code, identifier, parameters
from api.otlp.attributes import (
    MAX_TEXT_CHARS,
    Attributes,
    codes,
    count,
    first,
    milliseconds,
    name,
    plain,
    structured,
    text,
)
from api.otlp.encoding import raw_item
from api.otlp.messages import Messages, NamedEvent
from api.otlp.signals import TRACES
from ledger.proof.format.canonical import NotCanonical, canonical
from schema.events import Event, ModelCallCompleted, ModelCallFailed, ModelCallStarted
from schema.fields import Name

MAPPER_VERSION = "otlp-3"

REQUEST_PREFIX = "gen_ai.request."
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

Made = TypeVar("Made", bound=Event)
CONVERSATION = TypeAdapter[str](Name)


class NotMapped(ValueError):
    """The item belongs to a model call but cannot be recorded. `reason` is a label; the message names the member."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


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

    @cached_property
    def events(self) -> list[NamedEvent]:
        """Return the span's events."""
        return [(event.name, plain(event.attributes)) for event in self.span.events]


def check_ids(trace_id: str, span_id: str) -> tuple[str, str]:
    """Return these ids, in hex. Raises NotMapped."""
    if not re.fullmatch("[0-9a-f]{32}", trace_id) or not int(trace_id, 16):
        raise NotMapped("ids", "traceId: not 16 bytes, or all zero")
    if not re.fullmatch("[0-9a-f]{16}", span_id) or not int(span_id, 16):
        raise NotMapped("ids", "spanId: not 8 bytes, or all zero")
    return trace_id, span_id


def started(item: SpanInContext, attributes: Attributes, content: Messages) -> ModelCallStarted:
    """Build the start of a call from attributes in the conventions' names. Raises NotMapped."""
    trace_id, span_id = item.ids
    return make(
        ModelCallStarted,
        provider_name=_identifier(attributes, "gen_ai.provider.name") or UNKNOWN,
        request_model=_identifier(attributes, "gen_ai.request.model", "gen_ai.response.model") or UNKNOWN,
        operation_name=_operation(attributes),
        request_parameters=_parameters(attributes),
        agent_version=identifier(attributes.get("gen_ai.agent.version")),
        prompt_name=identifier(attributes.get("gen_ai.prompt.name")),
        prompt_version=identifier(attributes.get("gen_ai.prompt.version")),
        conversation_id=_conversation(attributes.get("gen_ai.conversation.id")),
        tool_definitions_sha256=_digest(attributes.get("gen_ai.tool.definitions")),
        system_instructions=content.system_instructions,
        input_messages=content.input,
        capture="otlp",
        mapper_version=MAPPER_VERSION,
        trace_id=trace_id,
        span_id=span_id,
        claimed_start=time_of(item.span.start_time_unix_nano),
    )


def ended(item: SpanInContext, attributes: Attributes, content: Messages) -> ModelCallCompleted | ModelCallFailed:
    """Build the end of a call from attributes in the conventions' names. Raises NotMapped."""
    span = item.span
    took_ns = span.end_time_unix_nano - span.start_time_unix_nano
    common = {
        "latency_ms": took_ns // NS_PER_MS if span.start_time_unix_nano and took_ns >= 0 else None,
        "raw_span": raw_item(TRACES, item.resource, item.scope, span),
    }
    if span.status.code == Status.STATUS_CODE_ERROR or attributes.get("error.type") is not None:
        kind, detail = _fault(item)
        return make(ModelCallFailed, error_type=kind, detail=detail, **common)
    return make(
        ModelCallCompleted,
        response_id=identifier(attributes.get("gen_ai.response.id")),
        response_model=identifier(attributes.get("gen_ai.response.model")),
        response_finish_reasons=codes(attributes.get("gen_ai.response.finish_reasons")),
        usage_input_tokens=count(attributes.get("gen_ai.usage.input_tokens")),
        usage_output_tokens=count(attributes.get("gen_ai.usage.output_tokens")),
        usage_cache_read_input_tokens=count(attributes.get("gen_ai.usage.cache_read.input_tokens")),
        usage_cache_write_input_tokens=count(attributes.get("gen_ai.usage.cache_write.input_tokens")),
        usage_reasoning_output_tokens=count(attributes.get("gen_ai.usage.reasoning.output_tokens")),
        time_to_first_chunk_ms=milliseconds(attributes.get("gen_ai.response.time_to_first_chunk")),
        output_messages=content.output,
        **common,
    )


def make(kind: type[Made], **members: Any) -> Made:
    """Build an event of these members. Raises NotMapped with the member that it cannot have."""
    try:
        return kind.model_validate(members)
    except ValidationError as error:
        [fault, *_] = error.errors(include_input=False)
        raise NotMapped("invalid", f"{fault['loc'][0]}: {fault['msg']}") from error


def time_of(nanoseconds: int) -> str | None:
    """Format a time as RFC 3339 with nine digits; 0 means unknown and gives None."""
    if not nanoseconds:
        return None
    seconds, rest = divmod(nanoseconds, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _identifier(attributes: Attributes, *keys: str) -> str | None:
    """Return the name in the first of these attributes that is present."""
    return identifier(first(attributes, *keys))


def _conversation(value: Any) -> str | None:
    """Return the id of a conversation; None if the ledger refuses the name. It is not worth losing the call."""
    try:
        return CONVERSATION.validate_python(value)
    except ValidationError:
        return None


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


def _fault(item: SpanInContext) -> tuple[str, str | None]:
    """Return the error type, in clear, and the detail. Free text in place of a type becomes part of the detail."""
    thrown = next((members for name, members in item.events if name == "exception"), {})
    kinds = [item.attributes.get("error.type"), thrown.get("exception.type")]
    message = text(item.span.status.message) or text(thrown.get("exception.message"))
    words = [*(text(kind) for kind in kinds if code(kind) is None), message]
    detail = ": ".join(filter(None, words))[:MAX_TEXT_CHARS]
    return next(filter(None, map(code, kinds)), UNKNOWN), detail or None


def _digest(definitions: Any) -> str | None:
    """Return the SHA-256 of tool definitions in canonical JSON, with text as a string; None if they have no canonical
    form."""
    if definitions is None:
        return None
    try:
        return sha256(canonical(structured(definitions))).hexdigest()
    except NotCanonical:
        return None
