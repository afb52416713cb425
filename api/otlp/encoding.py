"""Decode OTLP/HTTP requests in protobuf and JSON, and encode answers.

OTLP's JSON is protobuf's JSON with two differences: ids are hex instead of base64, and enums are numbers. Unknown
fields are ignored in both encodings.
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
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from api.json_members import Repeated, check_members, has_more_members
from api.otlp.signals import Signal
from api.otlp.wire import MAX_FIELDS, TooMany, check_counts
from ledger.proof.format.canonical import MAX_DEPTH, MAX_INTEGER

# Recommended by the specification, after decompression. api/http/body_limit.py bounds the body as it was sent.
MAX_BYTES = 20 * 1024 * 1024
# zlib's parameter for each Content-Encoding.
WINDOW_BITS = {"gzip": 31, "deflate": 15}
# Phrases in protobuf's own errors for a body with messages nested more than a hundred deep.
DEPTH_ERRORS = ("MaxDepth", "too deep")
IDS = ("traceId", "spanId", "parentSpanId")
Encoding = Literal["application/x-protobuf", "application/json"]


class NotOtlp(ValueError):
    """The body is not an export request. The message names the reason and does not quote the body."""


class TooLarge(ValueError):
    """The body is larger than MAX_BYTES after decompression, or has more in it than an export may have."""


def unpack(body: bytes, content_encoding: str) -> bytes:
    """Decompress the body, holding at most about MAX_BYTES. Raises NotOtlp or TooLarge."""
    if content_encoding not in WINDOW_BITS:
        return body
    unpacker = zlib.decompressobj(WINDOW_BITS[content_encoding])
    try:
        unpacked = unpacker.decompress(body, MAX_BYTES + 1)
    except zlib.error as error:
        raise NotOtlp(f"the body is not {content_encoding}") from error
    if len(unpacked) > MAX_BYTES:
        raise TooLarge(f"the body is larger than {MAX_BYTES} bytes after decompression")
    if not unpacker.eof or unpacker.unused_data:
        raise NotOtlp(f"the body is not one complete {content_encoding} stream")
    return unpacked


def decode(body: bytes, encoding: Encoding, signal: Signal) -> Any:
    """Read an export request of this signal. Raises TooLarge; also NotOtlp if it is nested deeper than protobuf can."""
    try:
        if encoding == "application/json":
            request = _from_json(body, signal)
            check_counts(request.SerializeToString(), signal)
            return request
        check_counts(body, signal)
    except TooMany as error:
        raise TooLarge(str(error)) from error
    except NotOtlp:
        raise
    except (ValueError, IndexError) as error:
        raise _not_otlp(f"an {signal.request_name} in protobuf", error) from error
    request = signal.request()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise _not_otlp(f"an {signal.request_name} in protobuf", error) from error
    return request


def _from_json(body: bytes, signal: Signal) -> Any:
    # A member becomes a field or two, so this bound is looser than that of the fields.
    if has_more_members(body, MAX_FIELDS):
        raise TooMany(signal, MAX_FIELDS, "members")
    try:
        content = orjson.loads(body)
        check_members(body)
    except orjson.JSONDecodeError as error:
        raise NotOtlp(f"the body is not JSON: {error.msg}, at {error.pos}") from error
    except Repeated:
        raise NotOtlp("a member stands twice in one object of the body") from None
    if not isinstance(content, dict):
        raise NotOtlp("the body is not a JSON object")
    try:
        _change_ids(content, signal, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        return json_format.ParseDict(content, signal.request(), ignore_unknown_fields=True)
    # Also catch the errors that wrong types cause in the parser. Its messages may quote the body.
    except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise _not_otlp(f"an {signal.request_name} in OTLP's JSON", error) from error


def _not_otlp(expected: str, error: Exception) -> NotOtlp:
    """Name the reason without quoting protobuf's message, which may repeat the body."""
    if any(phrase in str(error) for phrase in DEPTH_ERRORS):
        return NotOtlp("the export is nested too deep: protobuf reads at most 100 messages within each other")
    return NotOtlp(f"the body is not {expected}")


def raw_item(signal: Signal, resource: Any, scope: Any, item: Any) -> dict[str, Any]:
    """Return one span or log record with its resource and scope, as an export request has them.

    It is the only element of `resourceSpans` or `resourceLogs` there, and could be sent again. If it is nested deeper
    than the ledger accepts, return `{"json": …}` with the element as text.
    """
    alone = type(resource)(resource=resource.resource, schema_url=resource.schema_url)
    around = type(scope)(scope=scope.scope, schema_url=scope.schema_url)
    getattr(around, signal.levels[2]).append(item)
    getattr(alone, signal.levels[1]).append(around)
    request = signal.request()
    getattr(request, signal.levels[0]).append(alone)
    [content] = request_json(signal, request)[signal.json_levels[0]]
    return content if _quote_doubles(content) <= MAX_DEPTH else {"json": orjson.dumps(content).decode()}


def request_json(signal: Signal, request: Any) -> dict[str, Any]:
    """Return an export request in OTLP's JSON."""
    content: dict[str, Any] = json_format.MessageToDict(request, use_integers_for_enums=True)
    _change_ids(content, signal, lambda text: base64.b64decode(text).hex())
    return content


def success(signal: Signal, encoding: Encoding, rejected: int, message: str) -> bytes:
    """Encode the answer to an export, with the number of `rejected` items."""
    answer = signal.response()
    if rejected or message:
        setattr(answer.partial_success, signal.rejected, rejected)
        answer.partial_success.error_message = message
    return _encode(answer, encoding)


def failure(encoding: Encoding, message: str) -> bytes:
    """Encode the answer to an export that was refused: a google.rpc.Status with a message.

    google.rpc is not among our dependencies. The trace API's own Status has a `message` of the same name and number.
    """
    return _encode(Status(message=message), encoding)


def _encode(message: Message, encoding: Encoding) -> bytes:
    if encoding == "application/json":
        return orjson.dumps(json_format.MessageToDict(message))
    content: bytes = message.SerializeToString()
    return content


def _change_ids(content: dict[str, Any], signal: Signal, change: Callable[[str], str]) -> None:
    """Change the ids of all items and links in an export request as JSON. Raises ValueError for a malformed id."""
    for holder in _id_holders(content, signal):
        for name in IDS:
            if isinstance(holder.get(name), str):
                holder[name] = change(holder[name])


def _id_holders(content: dict[str, Any], signal: Signal) -> Iterator[dict[str, Any]]:
    """Yield the objects that have ids: spans and their links, or log records."""
    resources, scopes, items = signal.json_levels
    for resource in _members(content, resources):
        for scope in _members(resource, scopes):
            for item in _members(scope, items):
                yield item
                yield from _members(item, "links")


def _members(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects in a list; the parser refuses members of a wrong type."""
    values = content.get(name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _quote_doubles(content: Any) -> int:
    """Replace doubles that canonical JSON cannot hold by strings, as protobuf's JSON allows. Return the depth."""
    if not isinstance(content, dict | list):
        return 0
    deepest = 0
    for key, value in list(content.items() if isinstance(content, dict) else enumerate(content)):
        if isinstance(value, float) and not is_exact(value):
            content[key] = repr(value)
        else:
            deepest = max(deepest, _quote_doubles(value))
    return deepest + 1


def is_exact(number: float) -> bool:
    """Return True if canonical JSON can hold this number."""
    return math.isfinite(number) and (abs(number) <= MAX_INTEGER or number != int(number))
