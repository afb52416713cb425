"""Every failure as application/problem+json (RFC 9457); `PROBLEMS` is the one table of them.

`type` is a path under /problems/ and names the failure for programs; `detail` is for people. Values that the caller
sent are never repeated, here or in a log: they may be personal. Names of fields are.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect

from ledger import errors as ledger

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
MAX_FIELD_CHARS = 200

# type: status, title. docs/use/http.md explains each; a test compares.
PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "Bad request"),
    "malformed-json": (400, "Not JSON"),
    "no-token": (401, "Who is calling?"),
    "unknown-token": (401, "Who is calling?"),
    "wrong-role": (403, "Not allowed"),
    "not-found": (404, "Not found"),
    "request-unknown": (404, "Not found"),
    "recommendation-unknown": (404, "Not found"),
    "model-call-unknown": (404, "Not found"),
    "agent-unknown": (404, "Not found"),
    "decision-unknown": (404, "Not found"),
    "event-type-unknown": (404, "Not found"),
    "not-covered": (404, "Not signed yet"),
    "method-not-allowed": (405, "Method not allowed"),
    "request-finished": (409, "Conflict"),
    "request-failed": (409, "Conflict"),
    "agent-suspended": (409, "Conflict"),
    "agent-not-suspended": (409, "Conflict"),
    "model-call-ended": (409, "Conflict"),
    "model-call-of-another": (409, "Conflict"),
    "recommendation-superseded": (409, "Conflict"),
    "recommendation-waiting": (409, "Conflict"),
    "recommendation-decided": (409, "Conflict"),
    "recommendation-communicated": (409, "Conflict"),
    "digest-mismatch": (409, "Conflict"),
    "nothing-waits": (409, "Conflict"),
    "same-person": (409, "Conflict"),
    "not-approved": (409, "Conflict"),
    "idempotency-key-reused": (409, "Conflict"),
    "client-conflict": (409, "Conflict"),
    "busy": (409, "Conflict"),
    "too-large": (413, "Too large"),
    "not-json": (415, "Not JSON"),
    "invalid": (422, "Not valid"),
    "answer-off-schema": (422, "Not valid"),
    "internal": (500, "Our fault"),
    "unavailable": (503, "Not available now"),
    "log-damaged": (503, "Not provable now"),
}
# What Starlette raises by itself.
BY_STATUS = {404: "not-found", 405: "method-not-allowed"}
DESCRIPTIONS = {
    400: "The body is not JSON.",
    401: "No token, or one that is unknown or revoked.",
    403: "The token's role may not do this.",
    404: "There is no such thing.",
    409: "It conflicts with what is recorded.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "Something is not as it should be; `errors` names the fields.",
    503: "The database does not answer; nothing is half done. Send it again, with the same Idempotency-Key.",
}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
}


class FieldError(BaseModel):
    """One field that is not as it should be: a path into the body, or the name of a parameter or header."""

    field: str
    reason: str


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    current_recommendation_id: int | None = None
    current_digest: str | None = None
    state: str | None = None
    size: int | None = None


class ApiError(Exception):
    """A failure of the HTTP side itself, such as a missing credential. `slug` is one of PROBLEMS."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.errors = errors
        self.headers = headers


def problem(
    slug: str,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    facts: Mapping[str, str | int] | None = None,
) -> Response:
    """The response for one failure; `facts` become members of their own (RFC 9457 section 3.2)."""
    status, title = PROBLEMS[slug]
    body: dict[str, Any] = {"type": f"/problems/{slug}", "title": title, "status": status, "detail": detail}
    body |= facts or {}
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    return Response(orjson.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": DESCRIPTIONS[status], "content": content, "headers": HEADERS.get(status, {})}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Makes problems of everything that a route may raise. The handlers are coroutines: others would cost a thread."""
    app.add_exception_handler(ledger.LedgerError, _ledger_error)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    # Not a handler: Starlette raises again what its handler for Exception was given, and the server then logs the
    # message, which may hold what the caller sent.
    app.add_middleware(ExceptionMiddleware, handlers={Exception: _unexpected})


CONFLICTS: dict[type[ledger.Conflict], tuple[str, str]] = {
    ledger.IdConflict: ("idempotency-key-reused", "this Idempotency-Key was used for another request; use a new one"),
    ledger.VersionConflict: ("busy", "others are writing to this; try again"),
    ledger.ClientConflict: ("client-conflict", "the request belongs to another client; nothing was recorded"),
}


async def _ledger_error(request: Request, error: Exception) -> Response:
    match error:
        case ledger.InvalidEvent():
            return problem("invalid", str(error), errors=[FieldError(field=error.field, reason=error.reason)])
        case ledger.Refused(facts={"field": str(field), "reason": str(reason)}) if error.code in PROBLEMS:
            return problem(error.code, str(error), errors=[FieldError(field=field, reason=reason)])
        case ledger.Refused() if error.code in PROBLEMS:
            return problem(error.code, str(error), facts=error.facts)
        case ledger.Conflict():
            return problem(*CONFLICTS[type(error)])
        case ledger.Unavailable():
            return problem("unavailable", str(error), headers={"Retry-After": str(error.retry_after_s)})
    return await _unexpected(request, error)


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(error.slug, str(error), errors=error.errors, headers=error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [FieldError(field=_place(item["loc"]), reason=_reason(item)) for item in error.errors()[:MAX_ERRORS]]
    names = ", ".join(sorted({item.field for item in found}))
    return problem("invalid", f"not valid: {names}", errors=found)


def _place(location: tuple[int | str, ...]) -> str:
    """`amount_usd`, `constraints.max_equity`, `objectives[2]`; `body` where it is the body as a whole."""
    place = ""
    for part in location[1:] or location:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place.encode("utf-8", "replace").decode()[:MAX_FIELD_CHARS]


def _reason(item: Mapping[str, Any]) -> str:
    """What is wrong, without the value. pydantic's own message but for the two that speak of Python."""
    if item["type"] == "model_attributes_type":
        return "Input should be a JSON object"
    if item["type"] == "recursion_depth_exceeded":
        return "Nested too deep"
    return str(item["msg"])


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = BY_STATUS.get(error.status_code, "bad-request")
    return problem(slug, PROBLEMS[slug][1], headers=error.headers)


async def _disconnected(request: Request, error: Exception) -> Response:
    return problem("bad-request", "the connection was closed before the body was complete")


async def _unexpected(request: Request, error: Exception) -> Response:
    """Logs what happened and where, and not the message."""
    route = getattr(request.scope.get("route"), "path", "no route")
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s in %s %s\n%s", type(error).__name__, request.method, route, where)
    return problem("internal", "an unexpected error; where it happened is in the server's log")
