"""POST /v1/traces and /v1/logs: receive spans and log records over OTLP/HTTP, and record those of models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from api.http.auth.permissions import MayAnswer
from api.http.problems import MEDIA_TYPE, ApiError, answer_to
from api.http.statuses import HEADERS
from api.otlp import encoding as otlp
from api.otlp.dialects.gen_ai import GEN_AI
from api.otlp.log_mapper import map_logs
from api.otlp.mapper import map_request
from api.otlp.not_recorded import NotRecorded, by_ledger, summary
from api.otlp.signals import LOGS, TRACES, Signal
from api.services import InjectedServices, Services
from ledger.errors import LedgerError, Unavailable

PROTOBUF: otlp.Encoding = "application/x-protobuf"
JSON: otlp.Encoding = "application/json"

STATUS_SCHEMA = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
DESCRIPTIONS = {
    400: "The body is not an export request; do not send it again.",
    401: "The token is missing, unknown or revoked.",
    403: "The token's role may not export.",
    413: "The body is too large, as sent or after decompression; do not send it again.",
    415: "The body is neither protobuf nor JSON, or has an encoding other than gzip or deflate.",
    503: "The database does not answer. Send the same export again: nothing is recorded twice.",
}

Mapped = TypeVar("Mapped")


class OtlpRoute(APIRoute):
    """Answer errors as OTLP requires: a google.rpc.Status in the encoding of the request."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler that FastAPI makes."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except (ApiError, LedgerError) as error:
                return _as_status(request, await answer_to(request, error))

        return handle


def _as_status(request: Request, answer: Response) -> Response:
    """Return a problem as a google.rpc.Status, whose message begins with the type of the problem."""
    encoding = encoding_of(request)
    if encoding is None:
        return answer
    told = orjson.loads(answer.body)
    headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
    return Response(otlp.failure(encoding, f"{told['type']}: {told['detail']}"), answer.status_code, headers, encoding)


def _documented(signal: Signal) -> dict[str, Any]:
    """Describe a route's bodies. Errors are OTLP's, or a problem if the encoding of the request is not known."""
    answer = f"{signal.response.DESCRIPTOR.name}; `partialSuccess` names refused {signal.items} and reasons."
    binary = {"schema": {"type": "string", "format": "binary"}}
    member = {signal.json_levels[0]: {"type": "array"}}
    errors = {
        JSON: {"schema": STATUS_SCHEMA},
        PROTOBUF: {"schema": {**binary["schema"], "description": "google.rpc.Status"}},
        MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}},
    }
    return {
        "response_class": Response,
        "responses": {
            200: {"description": answer, "content": {JSON: {"schema": {"type": "object"}}, PROTOBUF: binary}},
            **{
                status: {"description": text, "content": errors, "headers": HEADERS.get(status, {})}
                for status, text in DESCRIPTIONS.items()
            },
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "description": f"{signal.request_name}. Content-Encoding may be gzip or deflate.",
                "content": {JSON: {"schema": {"type": "object", "properties": member}}, PROTOBUF: binary},
            }
        },
    }


router = APIRouter(tags=["model calls"], route_class=OtlpRoute)


@router.post("/v1/traces", **_documented(TRACES))
async def export_traces(services: InjectedServices, request: Request, caller: MayAnswer) -> Response:
    """Record the model calls among the spans (OTLP/HTTP). Role: agent."""
    mapped = await _mapped(services, request, TRACES, lambda message: map_request(message, caller))
    errors = await _recorded(services.ledger.requests.record_calls(mapped.calls))
    results = [
        (call.dialect, None if error is None else by_ledger(f"span {call.span_id}", call.dialect, error))
        for call, error in zip(mapped.calls, errors, strict=True)
    ]
    return _answer(services, request, TRACES, results, mapped.refusals)


@router.post("/v1/logs", **_documented(LOGS))
async def export_logs(services: InjectedServices, request: Request, caller: MayAnswer) -> Response:
    """Record the messages of model calls among the log records (OTLP/HTTP). Role: agent."""
    mapped = await _mapped(services, request, LOGS, lambda message: map_logs(message, caller))
    errors = await _recorded(services.ledger.content.record(mapped.contents))
    results = [
        (GEN_AI.name, None if error is None else by_ledger(f"log record of span {content.span_id}", GEN_AI.name, error))
        for content, error in zip(mapped.contents, errors, strict=True)
    ]
    return _answer(services, request, LOGS, results, mapped.refusals)


def encoding_of(request: Request) -> otlp.Encoding | None:
    """Return the encoding of the request, which is also that of the answer; None if it is not OTLP."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((known for known in (PROTOBUF, JSON) if known == kind), None)


async def _mapped(services: Services, request: Request, signal: Signal, map_message: Callable[[Any], Mapped]) -> Mapped:
    """Decode and map an export. Raises ApiError."""
    encoding = encoding_of(request)
    if encoding is None:
        raise ApiError("not-json", f"send {PROTOBUF} or {JSON}")
    packed = request.headers.get("content-encoding", "identity").strip().lower()
    if packed not in {"identity", *otlp.WINDOW_BITS}:
        raise ApiError("not-json", "Content-Encoding may be gzip or deflate")
    body = await request.body()
    try:
        async with services.unpacking:
            return await asyncio.to_thread(
                lambda: map_message(otlp.decode(otlp.unpack(body, packed), encoding, signal))
            )
    except otlp.TooLarge as error:
        raise ApiError("too-large", str(error)) from error
    except otlp.NotOtlp as error:
        raise ApiError("bad-request", str(error)) from error


async def _recorded(recording: Awaitable[Sequence[LedgerError | None]]) -> Sequence[LedgerError | None]:
    """Wait for the results of items. Raises ApiError if the sender should send everything again."""
    try:
        errors = await recording
    except Unavailable as error:
        raise _unavailable(error) from error
    down = next((error for error in errors if isinstance(error, Unavailable)), None)
    if down is not None:
        raise _unavailable(down)
    return errors


def _answer(
    services: Services,
    request: Request,
    signal: Signal,
    results: Sequence[tuple[str, NotRecorded | None]],
    refusals: Sequence[NotRecorded],
) -> Response:
    """Count the items, and report those that were not recorded.

    `results` are dialects, with None for recorded items.
    """
    refused = [*refusals, *(told for _, told in results if told is not None)]
    services.otlp_items.update((signal.name, dialect, "recorded") for dialect, told in results if told is None)
    services.otlp_items.update((signal.name, told.dialect, told.reason) for told in refused)
    encoding = encoding_of(request)
    assert encoding is not None, "_mapped() refuses other encodings"
    return Response(otlp.success(signal, encoding, len(refused), summary(refused)), media_type=encoding)


def _unavailable(error: Unavailable) -> ApiError:
    return ApiError("unavailable", str(error), headers={"Retry-After": str(error.retry_after_s)})
