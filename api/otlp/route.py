"""Spans from anything that speaks OpenTelemetry, over OTLP/HTTP: those of models become model calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from api.http.auth.permissions import Answerer
from api.http.problems import HEADERS, MEDIA_TYPE, PROBLEMS, ApiError, problem
from api.otlp import encoding as wire
from api.otlp.mapper import Mapped, map_request
from api.services import InjectedServices
from ledger.errors import LedgerError, Unavailable
from ledger.service.command import CallEvents
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from schema.events import ModelCallStarted

PROTOBUF: wire.Encoding = "application/x-protobuf"
JSON: wire.Encoding = "application/json"
# More would be of no use to who reads it.
MAX_REASONS = 10

STATUS_SCHEMA = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
DESCRIPTIONS = {
    400: "The body is not an export request; do not send it again.",
    401: "No token, or one that is unknown or revoked.",
    403: "The token's role may not do this.",
    413: "The body is too large, as sent or once unpacked; do not send it again.",
    415: "Neither protobuf nor JSON, or packed in another way than gzip or deflate.",
    503: "The database does not answer. Send the same again: what was recorded is not recorded twice.",
}


class OtlpRoute(APIRoute):
    """A route whose errors are, as OTLP wants, a google.rpc.Status in the encoding of the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the handler that FastAPI makes."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                status = PROBLEMS[error.slug][0]
                encoding = encoding_of(request)
                if encoding is None:
                    return problem(error.slug, str(error), headers=error.headers)
                return Response(wire.failure(encoding, str(error)), status, error.headers, encoding)

        return handle


def _documented() -> dict[int | str, dict[str, Any]]:
    """OTLP's bodies, and a problem where the request was refused before its encoding was looked at."""
    content = {
        JSON: {"schema": STATUS_SCHEMA},
        PROTOBUF: {"schema": {"type": "string", "format": "binary", "description": "google.rpc.Status"}},
        MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}},
    }
    return {
        status: {"description": text, "content": content, "headers": HEADERS.get(status, {})}
        for status, text in DESCRIPTIONS.items()
    }


router = APIRouter(tags=["model calls"], route_class=OtlpRoute)


@router.post(
    "/v1/traces",
    response_class=Response,
    responses={
        200: {
            "description": "ExportTraceServiceResponse; `partialSuccess` says which spans were refused, and why.",
            "content": {
                JSON: {"schema": {"type": "object"}},
                PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **_documented(),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "ExportTraceServiceRequest, perhaps with Content-Encoding gzip or deflate.",
            "content": {
                JSON: {"schema": {"type": "object", "properties": {"resourceSpans": {"type": "array"}}}},
                PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def export_traces(services: InjectedServices, request: Request, caller: Answerer) -> Response:
    """Record the model calls among the spans (OTLP/HTTP). Role: agent."""
    encoding = encoding_of(request)
    if encoding is None:
        raise ApiError("not-json", f"send {PROTOBUF} or {JSON}")
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if packed not in {"identity", *wire.WINDOW_BITS}:
        raise ApiError("not-json", "Content-Encoding may be gzip or deflate")
    body = await request.body()
    # Taking apart 20 MiB takes a second or more.
    mapped = await asyncio.to_thread(_mapped, body, packed, encoding, caller)
    reasons = mapped.refusals + await _record(services.ledger, mapped)
    more = [f"and {len(reasons) - MAX_REASONS} more"] if len(reasons) > MAX_REASONS else []
    message = "; ".join(reasons[:MAX_REASONS] + more)
    return Response(wire.success(encoding, len(reasons), message), media_type=encoding)


def encoding_of(request: Request) -> wire.Encoding | None:
    """How the request is encoded, and so its answer; None where that is not OTLP."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((known for known in (PROTOBUF, JSON) if known == kind), None)


def _mapped(body: bytes, packed: str, encoding: wire.Encoding, actor: Actor) -> Mapped:
    """Raises ApiError."""
    try:
        return map_request(wire.decode(wire.unpack(body, packed), encoding), actor)
    except wire.TooLarge as error:
        raise ApiError("too-large", str(error)) from error
    except wire.NotOtlp as error:
        raise ApiError("bad-request", str(error)) from error


async def _record(ledger: Ledger, mapped: Mapped) -> list[str]:
    """Records each call; why some were refused. Raises ApiError where the sender should send it all again."""
    if not mapped.calls:
        return []
    try:
        found = await ledger.record_calls(mapped.calls)
    except Unavailable as error:
        raise _unavailable(error) from error
    down = next((error for error in found if isinstance(error, Unavailable)), None)
    if down is not None:
        raise _unavailable(down)
    return [
        f"span {_span_id(call)}: {_reason(error)}"
        for call, error in zip(mapped.calls, found, strict=True)
        if error is not None
    ]


def _span_id(call: CallEvents) -> str | None:
    return call.started.event.span_id if isinstance(call.started.event, ModelCallStarted) else None


def _reason(error: LedgerError) -> str:
    code = getattr(error, "code", None)
    return f"{code}: {error}" if code else str(error)


def _unavailable(error: Unavailable) -> ApiError:
    return ApiError("unavailable", str(error), headers={"Retry-After": str(error.retry_after_s)})
