"""Define the statuses of problems: their titles, and their descriptions in the OpenAPI document."""

from __future__ import annotations

from typing import Any

# Titles are those of RFC 9110. `detail` says what to do.
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
DESCRIPTIONS = {
    400: "The body is not JSON, or the caller has several roles and names none.",
    401: "There is no token, or it is unknown, revoked or has expired.",
    403: "The role may not do this, or the subject is suspended.",
    404: "There is no such row.",
    406: "The header Accept names no type that this list comes in.",
    409: "The command conflicts with the record.",
    410: "There was such a file, and it was deleted.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field, parameter or header is not valid; `errors` names them.",
    429: "Too many lists with `as_of`, or too many streams, of this caller run at once.",
    503: "The database does not answer. The write is recorded whole or not at all: send it again, with the same"
    " Idempotency-Key.",
}
HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"description": "`Bearer`, perhaps with an error code.", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}}},
}
