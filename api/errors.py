"""Every failure as application/problem+json (RFC 9457), with a status from one table.

`type` is a path under /problems/ and names the failure for programs; `detail` is for people. Values that the caller
sent are never repeated: they may be personal.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import orjson
import psycopg
import psycopg_pool
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ledger import errors as ledger

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

# The most specific class that matches decides.
STATUS: dict[type[Exception], tuple[int, str]] = {
    ledger.InvalidEvent: (422, "invalid"),
    ledger.NotFound: (404, "not-found"),
    ledger.Refused: (409, "refused"),
    ledger.IdConflict: (409, "idempotency-key-reused"),
    ledger.VersionConflict: (409, "version-conflict"),
    ledger.ClientConflict: (409, "client-conflict"),
    ledger.Unavailable: (503, "unavailable"),
    ledger.LedgerError: (500, "internal"),
}
TITLES = {
    400: "Bad request",
    401: "Who is calling?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    422: "Not valid",
    500: "Our fault",
    503: "Not available now",
}


class FieldError(BaseModel):
    """One field that is not as it should be."""

    field: str
    reason: str


class Problem(BaseModel):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None


class ApiError(Exception):
    """A failure of the HTTP side itself, such as a missing credential."""

    def __init__(self, status: int, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.headers = dict(headers or {})


def problem(
    status: int, slug: str, detail: str, *, errors: list[FieldError] | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The response for one failure."""
    body: dict[str, Any] = {
        "type": f"/problems/{slug}",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    return Response(orjson.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these problems."""
    return {
        status: {"model": Problem, "description": TITLES[status], "content": {MEDIA_TYPE: {}}} for status in statuses
    }


def install(app: FastAPI) -> None:
    """Makes problems of everything that a route may raise."""
    app.add_exception_handler(ledger.LedgerError, _ledger_error)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(psycopg.OperationalError, _database_error)
    app.add_exception_handler(psycopg_pool.PoolTimeout, _database_error)
    app.add_exception_handler(Exception, _unexpected)


def _ledger_error(request: Request, error: Exception) -> Response:
    status, slug = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if isinstance(error, ledger.InvalidEvent):
        return problem(status, slug, str(error), errors=[FieldError(field=error.field, reason=error.reason)])
    if isinstance(error, ledger.Refused):
        return problem(status, error.code, str(error))
    if isinstance(error, ledger.IdConflict):
        return problem(status, slug, "this Idempotency-Key was used for another request; use a new one")
    if isinstance(error, ledger.Unavailable):
        return problem(status, slug, str(error), headers={"Retry-After": str(error.retry_after_s)})
    if status == 500:
        log.error("append refused: %s", error)
        return problem(500, slug, "the ledger could not record this; nothing was recorded")
    return problem(status, slug, str(error))


def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(error.status, error.slug, str(error), headers=error.headers)


def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        FieldError(field=_place(item["loc"]), reason=_reason(item)) for item in error.errors()[:20]
    ]
    if any(item["type"] == "json_invalid" for item in error.errors()):
        return problem(400, "malformed-json", "the body is not JSON", errors=found)
    names = ", ".join(sorted({item.field for item in found if item.field})) or "the body"
    return problem(422, "invalid", f"not valid: {names}", errors=found)


def _place(location: tuple[int | str, ...]) -> str:
    """`amount_usd`, `constraints.max_equity`, `objectives[2]`: without "body" or "query" before it."""
    place = ""
    for part in location[1:]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else part
    return place.encode("utf-8", "replace").decode()[:200]


def _reason(item: Mapping[str, Any]) -> str:
    if item["type"] == "json_invalid":
        return str(item.get("ctx", {}).get("error", "not JSON"))
    return str(item["msg"])


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug = TITLES.get(error.status_code, "error").lower().rstrip("?").replace(" ", "-")
    return problem(error.status_code, slug, str(error.detail), headers=error.headers)


def _database_error(request: Request, error: Exception) -> Response:
    log.warning("the database does not answer: %s", type(error).__name__)
    return problem(503, "unavailable", "the database does not answer; try again", headers={"Retry-After": "1"})


def _unexpected(request: Request, error: Exception) -> Response:
    # The type alone: a message may hold what the caller sent. Starlette hands the exception on to the server's log.
    log.error("unexpected %s in %s %s", type(error).__name__, request.method, request.scope.get("path"))
    return problem(500, "internal", "an unexpected error; it is in the server's log")
