"""Map log records to content of model calls: the events of `gen_ai` that carry messages apart from the span. Pure.

Each becomes one event, model-call.content-recorded, with an id derived from the caller and the record itself, so that
a record that is sent again is a retry. Records have no ids of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from api.otlp.allowlist import UNKNOWN, code
from api.otlp.attributes import Attributes, plain, value_of
from api.otlp.call_members import MAPPER_VERSION, NotMapped, check_ids, make, time_of
from api.otlp.dialects.dialect import mapping
from api.otlp.dialects.gen_ai import GEN_AI
from api.otlp.dialects.recognise import dialect_of_lookalike, recognise
from api.otlp.encoding import raw_item
from api.otlp.mapper import MAX_CONTEXT_BYTES, call_event_id
from api.otlp.messages import messages
from api.otlp.not_recorded import NotRecorded, lookalike
from api.otlp.signals import LOGS
from ledger.service.command import CallContent
from ledger.store.envelope import Actor, idempotent_id
from schema.events import ModelCallContentRecorded

# Before log records had a field for it, the name of an event was an attribute.
EVENT_NAME = "event.name"
PREFIX = "gen_ai."


@dataclass(frozen=True)
class MappedContent(CallContent):
    """Content of a model call, with the id of its span in hex."""

    span_id: str


@dataclass(frozen=True)
class MappedLogs:
    """The result of mapping an export. Records in neither list do not belong to a model call."""

    contents: list[MappedContent] = field(default_factory=list)
    refusals: list[NotRecorded] = field(default_factory=list)


@dataclass(frozen=True)
class RecordInContext:
    """A log record with its resource and scope, and its attributes as plain JSON."""

    resource: ResourceLogs
    scope: ScopeLogs
    record: LogRecord
    attributes: Attributes

    @property
    def event_name(self) -> str:
        """Return the name of the event; empty if the record is not an event."""
        return self.record.event_name or str(self.attributes.get(EVENT_NAME) or "")

    def members(self) -> Attributes:
        """Return the event's members: attributes, and the body, which older releases put the message into."""
        body = value_of(self.record.body)
        inside = body if isinstance(body, dict) else {} if body is None else {"body": body}
        return {**{key: value for key, value in self.attributes.items() if key != EVENT_NAME}, **inside}


def map_logs(request: ExportLogsServiceRequest, actor: Actor) -> MappedLogs:
    """Map an export request that `actor` sent. Raises nothing: a record that cannot be mapped is refused."""
    mapped = MappedLogs()
    for item in _records(request):
        if item.event_name.startswith(PREFIX):
            try:
                mapped.contents.append(_content(item, actor))
            except NotMapped as error:
                message = f"log record of span {item.record.span_id.hex()}: {error}"
                mapped.refusals.append(NotRecorded(GEN_AI.name, error.reason, message))
        elif (dialect := _dialect({**item.members(), **mapping(value_of(item.record.body))})) is not None:
            mapped.refusals.append(lookalike("log record", dialect))
    return mapped


def _records(request: ExportLogsServiceRequest) -> Iterator[RecordInContext]:
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield RecordInContext(resource, scope, record, plain(record.attributes))


def _dialect(members: Attributes) -> str | None:
    found = recognise(members)
    return dialect_of_lookalike(members) if found is None else found.dialect


def _content(item: RecordInContext, actor: Actor) -> MappedContent:
    """Build the event of a record. Raises NotMapped."""
    record = item.record
    trace_id, span_id = check_ids(record.trace_id.hex(), record.span_id.hex())
    if item.resource.resource.ByteSize() + item.scope.scope.ByteSize() > MAX_CONTEXT_BYTES:
        raise NotMapped("resource-too-large", f"resource: larger than {MAX_CONTEXT_BYTES} bytes with its scope")
    raw = raw_item(LOGS, item.resource, item.scope, record)
    found = messages({}, [(item.event_name, item.members())], {})
    event = make(
        ModelCallContentRecorded,
        event_name=code(item.event_name) or UNKNOWN,
        mapper_version=MAPPER_VERSION,
        trace_id=trace_id,
        span_id=span_id,
        claimed_time=time_of(record.time_unix_nano or record.observed_time_unix_nano),
        system_instructions=found.system_instructions,
        input_messages=found.input,
        output_messages=found.output,
        raw_log=raw,
    )
    event_id = idempotent_id(actor.id, f"otlp:{trace_id}:{span_id}:content:{_digest(raw)}")
    return MappedContent(actor, call_event_id(actor.id, trace_id, span_id, "started"), event_id, event, span_id)


def _digest(raw: dict[str, Any]) -> str:
    return sha256(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)).hexdigest()
