"""Model calls: the call, recorded before it is made, and its result or fault.

Names of members follow OpenTelemetry's gen_ai.* attributes, without the prefix and with _ for dots
(docs/use/model-calls.md).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from schema.event_base import Event
from schema.fields import (
    ClientId,
    Code,
    Count,
    Digest,
    ErrorType,
    FreeText,
    JsonObject,
    Name,
    Position,
    Sealed,
    SpanId,
    Timestamp,
    TraceId,
)


class Shown(BaseModel):
    """One thing that the model was shown: a recommendation by its position, a document by its name, …"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Code
    id: Name
    sha256: Digest | None = None


class CallStart(BaseModel):
    """A call that an agent is about to make. `as_of` is the position up to which the agent read the ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation_name: Name = "chat"
    provider_name: Name
    request_model: Name
    request_parameters: JsonObject | None = None
    agent_version: Name | None = None
    prompt_name: Name | None = None
    prompt_version: Name | None = None
    prompt_sha256: Digest | None = None
    # Sealed: senders make it of what they like, also of a person's name.
    conversation_id: Annotated[Name | None, Sealed()] = None
    tool_definitions_sha256: Digest | None = None
    shown: Annotated[list[Shown], Field(max_length=1000)] = []
    as_of: Position | None = None
    system_instructions: Annotated[JsonValue, Sealed()] = None
    input_messages: Annotated[JsonValue, Sealed()] = None
    trace_id: TraceId | None = None
    span_id: SpanId | None = None


class CallResult(BaseModel):
    """The result of a call."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    response_id: Name | None = None
    response_model: Name | None = None
    response_finish_reasons: Annotated[list[Name], Field(max_length=100)] | None = None
    usage_input_tokens: Count | None = None
    usage_output_tokens: Count | None = None
    # Parts of the two above.
    usage_cache_read_input_tokens: Count | None = None
    usage_cache_write_input_tokens: Count | None = None
    usage_reasoning_output_tokens: Count | None = None
    time_to_first_chunk_ms: Count | None = None
    latency_ms: Count | None = None
    output_messages: Annotated[JsonValue, Sealed()] = None


class CallFault(BaseModel):
    """Why a call gave nothing usable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    error_type: ErrorType
    latency_ms: Count | None = None
    detail: Annotated[FreeText | None, Sealed()] = None


class ModelCallStarted(CallStart, Event):
    """A model is about to be called. Its ledger position is the call's id.

    For a call captured from an OpenTelemetry span, `capture` is otlp, `mapper_version` is that of the mapper, and
    `claimed_start` is the time in the span; only `recorded_at` is the ledger's own time.
    """

    type = "model-call.started"
    schema_version = 1

    capture: Literal["direct", "otlp"] = "direct"
    mapper_version: Name | None = None
    claimed_start: Timestamp | None = None


class ModelCallCompleted(CallResult, Event):
    """A call gave a result. `causation` is the call's start; `raw_span` is the span that it was captured from."""

    type = "model-call.completed"
    schema_version = 1

    raw_span: Annotated[JsonObject | None, Sealed()] = None


class ModelCallFailed(CallFault, Event):
    """A call gave nothing usable. `causation` is its start; `raw_span` is the span that it was captured from."""

    type = "model-call.failed"
    schema_version = 1

    raw_span: Annotated[JsonObject | None, Sealed()] = None


class ModelCallContentRecorded(Event):
    """Messages of a model call that came apart from its span, in a log record of OpenTelemetry.

    In the stream of its call, whose start is the `causation`; or, before the span came, in the stream `content-UUID`,
    where UUID is the id that the call's start will have. `raw_log` is the log record that it was captured from.
    """

    type = "model-call.content-recorded"
    schema_version = 1

    event_name: Name
    mapper_version: Name
    trace_id: TraceId
    span_id: SpanId
    claimed_time: Timestamp | None = None
    system_instructions: Annotated[JsonValue, Sealed()] = None
    input_messages: Annotated[JsonValue, Sealed()] = None
    output_messages: Annotated[JsonValue, Sealed()] = None
    raw_log: Annotated[JsonObject | None, Sealed()] = None


class ModelCallContentJoined(Event):
    """The span of a call came after its content: the content was recorded again, in the stream of the call.

    In the stream `content-UUID`. The `causation` is the call's start. `client_id` is that of the call's request: it
    makes the stream one of the client's.
    """

    type = "model-call.content-joined"
    schema_version = 1

    client_id: Annotated[ClientId | None, Sealed()] = None


CALL_EVENTS = (ModelCallStarted, ModelCallCompleted, ModelCallFailed, ModelCallContentRecorded, ModelCallContentJoined)
