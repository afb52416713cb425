"""Define the two signals of OpenTelemetry that are received, traces and logs, with the protobuf messages of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True)
class Signal:
    """A signal. `levels` are the fields of the messages that nest in a request; the innermost are the items.

    `rejected` is the field of a partial success that counts items, `batch_size` the setting of the SDKs that bounds an
    export.
    """

    name: str
    request: type[Any]
    response: type[Any]
    levels: tuple[str, str, str]
    rejected: str
    batch_size: str

    @property
    def items(self) -> str:
        """Return the name for its items in messages: `spans` or `log records`."""
        return self.levels[2].replace("_", " ")

    @property
    def request_name(self) -> str:
        """Return the name of the request's message."""
        return str(self.request.DESCRIPTOR.name)

    @cached_property
    def json_levels(self) -> tuple[str, ...]:
        """Return the fields of `levels` as OTLP's JSON writes them, such as resourceSpans."""
        descriptor, names = self.request.DESCRIPTOR, []
        for level in self.levels:
            field = descriptor.fields_by_name[level]
            names.append(field.json_name)
            descriptor = field.message_type
        return tuple(names)


TRACES = Signal(
    "traces",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    ("resource_spans", "scope_spans", "spans"),
    "rejected_spans",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
)
LOGS = Signal(
    "logs",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    ("resource_logs", "scope_logs", "log_records"),
    "rejected_log_records",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
)
