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

from api.otlp.deep_spans import Decoded, members, span_by_span, without_deep_spans
from ledger.proof.format.canonical import MAX_DEPTH, MAX_INTEGER

# As the specification recommends; the body as sent is bounded by api/http/body_limit.py.
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


def decode(body: bytes, encoding: Encoding) -> Decoded:
    """The export request in a body, but for spans that are nested too deep. Raises NotOtlp."""
    if encoding == "application/json":
        return _from_json(body)
    try:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        return Decoded(request)
    except DecodeError:
        try:
            return span_by_span(body)
        except DecodeError as error:
            raise NotOtlp("the body is not an ExportTraceServiceRequest in protobuf") from error


def _from_json(body: bytes) -> Decoded:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotOtlp(f"the body is not JSON: {error.msg}, at {error.pos}") from error
    if not isinstance(content, dict):
        raise NotOtlp("the body is not a JSON object")
    try:
        _change_ids(content, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        refusals = without_deep_spans(content)
        request = json_format.ParseDict(content, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    # Besides its own error the parser lets through what wrong types lead to, and its message may quote the body.
    except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise NotOtlp("the body is not an ExportTraceServiceRequest in OTLP's JSON") from error
    return Decoded(request, refusals)


def raw_span(resource: ResourceSpans, scope: ScopeSpans, span: Span) -> dict[str, Any]:
    """One span with its resource and scope, as an element of `resourceSpans` that could be sent again as it is.

    Where that is nested deeper than the ledger holds, it is `{"json": …}` with the element as text.
    """
    alone = ResourceSpans(resource=resource.resource, schema_url=resource.schema_url)
    alone.scope_spans.append(ScopeSpans(scope=scope.scope, schema_url=scope.schema_url, spans=[span]))
    content: dict[str, Any] = json_format.MessageToDict(alone, use_integers_for_enums=True)
    _change_ids({"resourceSpans": [content]}, lambda text: base64.b64decode(text).hex())
    # What a parser of a hundred levels has let through, orjson writes.
    return content if _quote_doubles(content) <= MAX_DEPTH else {"json": orjson.dumps(content).decode()}


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
    """Spans and links: what has ids."""
    for resource in members(content, "resourceSpans"):
        for scope in members(resource, "scopeSpans"):
            for span in members(scope, "spans"):
                yield span
                yield from members(span, "links")


def _quote_doubles(content: Any) -> int:
    """Makes strings of doubles that no canonical JSON has, as protobuf's JSON allows; gives how deep it all is."""
    if not isinstance(content, dict | list):
        return 0
    deepest = 0
    for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        if isinstance(value, float) and not exact(value):
            content[key] = repr(value)
        else:
            deepest = max(deepest, _quote_doubles(value))
    return deepest + 1


def exact(number: float) -> bool:
    """Whether canonical JSON has this number."""
    return math.isfinite(number) and (abs(number) <= MAX_INTEGER or number != int(number))
