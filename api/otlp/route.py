"""POST /v1/traces: receive spans over OTLP/HTTP and record those of models as model calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from api.http.auth.permissions import MayAnswer
from api.http.problems import HEADERS, MEDIA_TYPE, PROBLEMS, ApiError, problem
from api.otlp import encoding as otlp
from api.otlp.mapper import Mapped, map_request
from api.otlp.not_recorded import NotRecorded, by_ledger, summary
from api.otlp.signals import TRACES
from api.services import InjectedServices, Services
from ledger.errors import Unavailable
from ledger.store.envelope import Actor

PROTOBUF: otlp.Encoding = "application/x-protobuf"
JSON: otlp.Encoding = "application/json"
# Exports that are unpacked and mapped at once; others wait.
UNPACKING = asyncio.Semaphore(2)

STATUS_SCHEMA = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
DESCRIPTIONS = {
    400: "The body is not an export request; do not send it again.",
    401: "The token is missing, unknown or revoked.",
    403: "The token's role may not send spans.",
    413: "The body is too large, as sent or after decompression; do not send it again.",
    415: "The body is neither protobuf nor JSON, or has an encoding other than gzip or deflate.",
    503: "The database does not answer. Send the same export again: no span is recorded twice.",
}


class OtlpRoute(APIRoute):
    """Answer errors as OTLP requires: a google.rpc.Status in the encoding of the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler that FastAPI makes."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiError as error:
                status = PROBLEMS[error.slug]
                encoding = encoding_of(request)
                if encoding is None:
                    return problem(error.slug, str(error), headers=error.headers)
                return Response(otlp.failure(encoding, str(error)), status, error.headers, encoding)

        return handle


def _documented() -> dict[int | str, dict[str, Any]]:
    """Describe error bodies: OTLP's, or a problem if the request was refused before its encoding was known."""
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
            "description": "ExportTraceServiceResponse; `partialSuccess` names refused spans and reasons.",
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
            "description": "ExportTraceServiceRequest. Content-Encoding may be gzip or deflate.",
            "content": {
                JSON: {"schema": {"type": "object", "properties": {"resourceSpans": {"type": "array"}}}},
                PROTOBUF: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def export_traces(services: InjectedServices, request: Request, caller: MayAnswer) -> Response:
    """Record the model calls among the spans (OTLP/HTTP). Role: agent."""
    encoding = encoding_of(request)
    if encoding is None:
        raise ApiError("not-json", f"send {PROTOBUF} or {JSON}")
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if packed not in {"identity", *otlp.WINDOW_BITS}:
        raise ApiError("not-json", "Content-Encoding may be gzip or deflate")
    body = await request.body()
    async with UNPACKING:
        mapped = await asyncio.to_thread(_mapped, body, packed, encoding, caller)
    refused = mapped.refusals + await _record(services, mapped)
    services.otlp_items.update(("traces", item.dialect, item.reason) for item in refused)
    return Response(otlp.success(TRACES, encoding, len(refused), summary(refused)), media_type=encoding)


def encoding_of(request: Request) -> otlp.Encoding | None:
    """Return the encoding of the request, which is also that of the answer; None if it is not OTLP."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((known for known in (PROTOBUF, JSON) if known == kind), None)


def _mapped(body: bytes, packed: str, encoding: otlp.Encoding, actor: Actor) -> Mapped:
    """Decode and map an export. Raises ApiError."""
    try:
        return map_request(otlp.decode(otlp.unpack(body, packed), encoding, TRACES), actor)
    except otlp.TooLarge as error:
        raise ApiError("too-large", str(error)) from error
    except otlp.NotOtlp as error:
        raise ApiError("bad-request", str(error)) from error


async def _record(services: Services, mapped: Mapped) -> list[NotRecorded]:
    """Record each call; return those that the ledger refused. Raises ApiError if the sender should send all again."""
    if not mapped.calls:
        return []
    try:
        errors = await services.ledger.requests.record_calls(mapped.calls)
    except Unavailable as error:
        raise _unavailable(error) from error
    down = next((error for error in errors if isinstance(error, Unavailable)), None)
    if down is not None:
        raise _unavailable(down)
    results = list(zip(mapped.calls, errors, strict=True))
    services.otlp_items.update(("traces", call.dialect, "recorded") for call, error in results if error is None)
    return [by_ledger(f"span {call.span_id}", call.dialect, error) for call, error in results if error is not None]


def _unavailable(error: Unavailable) -> ApiError:
    return ApiError("unavailable", str(error), headers={"Retry-After": str(error.retry_after_s)})
