"""Answer every failure with application/problem+json (RFC 9457), by the table in problem_types.py.

`type` is a path under /problems/ and names the failure for programs; `detail` is for people. Neither a problem nor the
log repeats a value that the caller sent, as it may be personal. Both name fields.
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
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from api.http.problem_types import PROBLEMS
from api.http.statuses import DESCRIPTIONS, HEADERS, TITLES
from api.oidc.fetch import ProviderUnavailable
from ledger.errors import (
    ClientConflict,
    ClientTaken,
    ClockAhead,
    Conflict,
    ContentAltered,
    IdConflict,
    InvalidEvent,
    InvalidLines,
    LedgerError,
    LogRefused,
    NotAttested,
    Refused,
    StreamSetAside,
    StreamUnreadable,
    Unavailable,
    UnknownEventType,
    VersionConflict,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
MAX_FIELD_CHARS = 200

# The types of the failures that Starlette raises itself.
BY_STATUS = {404: "not-found", 405: "method-not-allowed"}
HTTP_DETAILS = {
    "not-found": "there is no such path; /docs lists all",
    "method-not-allowed": "this path has other methods: see the header Allow",
    "bad-request": "the request could not be read",
}


class FieldError(BaseModel):
    """A field that is not valid: a path into the body, or the name of a parameter or header."""

    field: str
    reason: str


class Problem(BaseModel):
    """An error (RFC 9457). Programs match on `type`; `detail` says what to do."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    current_recommendation_id: int | None = None
    current_digest: str | None = None
    state: str | None = None
    size: int | None = None
    client: int | None = None
    merged_into: int | None = None
    credential: int | None = None
    erasure: int | None = None
    hold: int | None = None
    possible_from: str | None = None


class ApiError(Exception):
    """A failure that the HTTP layer detects, such as a missing token. `slug` is a key of PROBLEMS."""

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
    """Return the response for a failure; `facts` become members of their own (RFC 9457 section 3.2)."""
    status = PROBLEMS[slug]
    body: dict[str, Any] = {"type": f"/problems/{slug}", "title": TITLES[status], "status": status, "detail": detail}
    body |= facts or {}
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    if status == 429:
        headers = {"Retry-After": "1", **(headers or {})}
    return Response(orjson.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that may answer with these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if 401 in statuses:  # a caller who must authenticate may have to choose a role
        statuses = (400, *(status for status in statuses if status != 400))
    return {
        status: {"description": DESCRIPTIONS[status], "content": content, "headers": HEADERS.get(status, {})}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Turn every exception that a route may raise into a problem. Handlers are coroutines: functions need a thread."""
    app.add_exception_handler(LedgerError, _ledger_error)
    app.add_exception_handler(InvalidLines, _invalid_lines)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _disconnected)
    app.add_exception_handler(Exception, _unexpected)


async def answer_to(request: Request, error: Exception) -> Response:
    """Return the response for any failure, for code after the beginning of an answer, where no handler runs."""
    if isinstance(error, ApiError):
        return await _api_error(request, error)
    return await (_ledger_error if isinstance(error, LedgerError) else _unexpected)(request, error)


CONFLICTS: dict[type[Conflict], tuple[str, str]] = {
    IdConflict: ("idempotency-key-reused", "this Idempotency-Key was used for another request; use a new one"),
    VersionConflict: ("busy", "others are writing to this; try again"),
    ClientConflict: ("client-conflict", "the request belongs to another client; nothing was recorded"),
    ClientTaken: ("client-registered", "a client is registered under this identifier"),
}
# The text of LogRefused may name files of the server. `/readyz` shows it.
NOT_SIGNED = "nothing is recorded, as the database does not go on from what was signed last: an operator has to decide"

OUTAGES: dict[type[LedgerError], str] = {
    ClockAhead: "clock-ahead",
    ContentAltered: "content-altered",
    LogRefused: "log-refused",
    NotAttested: "not-attested",
    ProviderUnavailable: "identity-provider-unavailable",
    UnknownEventType: "event-type-not-registered",
    StreamSetAside: "stream-set-aside",
    StreamUnreadable: "stream-set-aside",
}


async def _ledger_error(request: Request, error: Exception) -> Response:
    match error:
        case InvalidEvent():
            return problem("invalid", str(error), errors=[FieldError(field=error.field, reason=error.reason)])
        case Refused(facts={"field": str(field), "reason": str(reason)}) if error.code in PROBLEMS:
            return problem(error.code, str(error), errors=[FieldError(field=field, reason=reason)])
        case Refused() if error.code in PROBLEMS:
            return problem(error.code, str(error), facts=error.facts)
        case Conflict():
            return problem(*CONFLICTS[type(error)])
        case Unavailable() | UnknownEventType() | StreamUnreadable():
            return _unavailable(error)
    return await _unexpected(request, error)


async def _invalid_lines(request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidLines)
    errors = [FieldError(field=field, reason=reason) for field, reason in error.errors[:MAX_ERRORS]]
    return problem("invalid", "lines are not valid, and nothing was recorded", errors=errors)


def _unavailable(error: Unavailable | UnknownEventType | StreamUnreadable) -> Response:
    slug = OUTAGES.get(type(error), "unavailable")
    detail = NOT_SIGNED if isinstance(error, LogRefused) else str(error)
    return problem(slug, detail, headers={"Retry-After": str(error.retry_after_s)})


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(error.slug, str(error), errors=error.errors, headers=error.headers)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [FieldError(field=_path(item["loc"]), reason=_reason(item)) for item in error.errors()[:MAX_ERRORS]]
    names = ", ".join(sorted({item.field for item in errors}))
    return problem("invalid", f"not valid: {names}", errors=errors)


def _path(location: tuple[int | str, ...]) -> str:
    """Write a location as `amount_usd`, `constraints.max_equity` or `objectives[2]`; `body` for the whole body."""
    path = ""
    for part in location[1:] or location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path.encode("utf-8", "replace").decode()[:MAX_FIELD_CHARS]


def _reason(item: Mapping[str, Any]) -> str:
    """Return pydantic's message, which has no value in it, except for two that mention Python's types."""
    if item["type"] == "model_attributes_type":
        return "Input should be a JSON object"
    if item["type"] == "recursion_depth_exceeded":
        return "Nested too deep"
    return str(item["msg"])


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = BY_STATUS.get(error.status_code, "bad-request")
    headers = dict(error.headers or {})
    if "Allow" in headers:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem(slug, HTTP_DETAILS[slug], headers=headers)


def _methods(request: Request) -> set[str]:
    """Return the methods of the path, which may have several routes. Starlette names only those of the first."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in matching for method in getattr(route, "methods", None) or ()}
    return methods | {"HEAD"} if "GET" in methods else methods


async def _disconnected(request: Request, error: Exception) -> Response:
    return problem("bad-request", "the connection was closed before the body was complete")


async def _unexpected(request: Request, error: Exception) -> Response:
    """Log the type of the error and its traceback, but not its message, which may hold personal data."""
    route = getattr(request.scope.get("route"), "path", "no route")
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s in %s %s\n%s", type(error).__name__, request.method, route, where)
    return problem("internal", "the server has a fault; its log says where: report it to the operator")
