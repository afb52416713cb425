"""OTLP/HTTP as bytes: requests and answers, as protobuf and as JSON of OTLP's own kind.

OTLP's JSON is that of protobuf, but for ids, which are hex instead of base64, and enums, which are numbers. Names that
are not known are passed over in both encodings.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import orjson
from google.protobuf import json_format  # type: ignore[import-untyped] # no types are published for it
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped] # as above
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from ledger.proof.canonical import MAX_INTEGER

# As the specification recommends; the body as sent is bounded by api/gate.py.
MAX_BYTES = 20 * 1024 * 1024
# zlib's name for gzip, and for what HTTP calls deflate.
WINDOW_BITS = {"gzip": 31, "deflate": 15}
IDS = ("traceId", "spanId", "parentSpanId")
Encoding = Literal["application/x-protobuf", "application/json"]


class NotOtlp(ValueError):
    """The body is no export request. The message says why and repeats none of it."""


class TooLarge(ValueError):
    """It is, once unpacked, more than MAX_BYTES."""


def unpack(body: bytes, content_encoding: str) -> bytes:
    """The body without its Content-Encoding. Raises NotOtlp or TooLarge; never holds much more than MAX_BYTES."""
    if content_encoding not in WINDOW_BITS:
        return body
    unpacker = zlib.decompressobj(WINDOW_BITS[content_encoding])
    try:
        found = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise NotOtlp(f"the body is not {content_encoding}") from error
    if len(found) > MAX_BYTES:
        raise TooLarge(f"the body is over {MAX_BYTES} bytes once unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise NotOtlp(f"the body is not one whole {content_encoding} stream")
    return found


def decode(body: bytes, encoding: Encoding) -> ExportTraceServiceRequest:
    """The export request in a body. Raises NotOtlp."""
    if encoding == "application/json":
        return _from_json(body)
    try:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
    except DecodeError as error:
        raise NotOtlp("the body is not an ExportTraceServiceRequest in protobuf") from error
    return request


def _from_json(body: bytes) -> ExportTraceServiceRequest:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotOtlp(f"the body is not JSON: {error.msg}, at {error.pos}") from error
    if not isinstance(content, dict):
        raise NotOtlp("the body is not a JSON object")
    request = ExportTraceServiceRequest()
    try:
        _change_ids(content, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        json_format.ParseDict(content, request, ignore_unknown_fields=True)
    # Besides its own error the parser lets through what wrong types lead to, and its message may quote the body.
    except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise NotOtlp("the body is not an ExportTraceServiceRequest in OTLP's JSON") from error
    return request


def raw_span(resource: ResourceSpans, scope: ScopeSpans, span: Span) -> dict[str, Any]:
    """One span with its resource and scope, as an element of `resourceSpans` that could be sent again as it is."""
    alone = ResourceSpans(resource=resource.resource, schema_url=resource.schema_url)
    alone.scope_spans.append(ScopeSpans(scope=scope.scope, schema_url=scope.schema_url, spans=[span]))
    content: dict[str, Any] = json_format.MessageToDict(alone, use_integers_for_enums=True)
    _change_ids({"resourceSpans": [content]}, lambda text: base64.b64decode(text).hex())
    _quote_doubles(content)
    return content


def success(encoding: Encoding, rejected: int, message: str) -> bytes:
    """The answer to an export of which all was taken but `rejected` spans."""
    answer = ExportTraceServiceResponse()
    if rejected or message:
        answer.partial_success.rejected_spans = rejected
        answer.partial_success.error_message = message
    return _encode(answer, encoding)


def failure(encoding: Encoding, message: str) -> bytes:
    """The answer where nothing was taken: a google.rpc.Status, of which OTLP uses nothing but the message.

    Written as the trace API's own Status, whose `message` has the same name and number, as google.rpc is not among our
    dependencies.
    """
    return _encode(Status(message=message), encoding)


def _encode(message: Message, encoding: Encoding) -> bytes:
    if encoding == "application/json":
        return orjson.dumps(json_format.MessageToDict(message))
    content: bytes = message.SerializeToString()
    return content


def _change_ids(content: dict[str, Any], change: Callable[[str], str]) -> None:
    """Changes the ids of all spans and links in an export request as JSON. Raises ValueError for what is none."""
    for holder in _holders(content):
        for name in IDS:
            if isinstance(holder.get(name), str):
                holder[name] = change(holder[name])


def _holders(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Spans and links: what has ids. What is not of the right type is left for the parser to refuse."""
    for resource in _members(content, "resourceSpans"):
        for scope in _members(resource, "scopeSpans"):
            for span in _members(scope, "spans"):
                yield span
                yield from _members(span, "links")


def _members(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = content.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _quote_doubles(content: Any) -> None:
    """Makes strings of doubles that no canonical JSON has, as protobuf's JSON allows for each number."""
    values = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(values):
        if isinstance(value, float) and not exact(value):
            content[key] = repr(value)
        else:
            _quote_doubles(value)


def exact(number: float) -> bool:
    """Whether canonical JSON has this number."""
    return math.isfinite(number) and (abs(number) <= MAX_INTEGER or number != int(number))
