"""Read a JSON body with orjson, after the caller's permission was checked.

It refuses what the record cannot hold: NaN and infinities (1e400 among them), lone surrogates, bytes that are not
UTF-8, nesting deeper than 1024. If a member is repeated, the last one counts, as in most readers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from api.http.auth.permissions import Permission
from api.http.problems import ApiError, FieldError

# How far to search a malformed body for the name of the member at fault.
MAX_SEARCH_CHARS = 1024 * 1024

JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.ASCII | re.IGNORECASE)
# A string, perhaps cut off, a bracket, or a separator of members.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[][{}:,]', re.DOTALL)


class JsonRequest(Request):
    """A request whose body is already parsed."""

    parsed: Any

    async def json(self) -> Any:
        """Return the parsed body."""
        return self.parsed


class JsonRoute(APIRoute):
    """A route that reads its JSON body with `read_json()`, and only for callers who may send it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler that FastAPI makes."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler
        [permission] = [needed.call for needed in self.dependant.dependencies if isinstance(needed.call, Permission)]

        async def handle(request: Request) -> Response:
            await permission(request)
            parsed = JsonRequest(request.scope, request.receive)
            parsed.parsed = await read_json(parsed)
            return await handler(parsed)

        return handle


async def read_json(request: Request) -> Any:
    """Parse the body. Raises ApiError. api/http/body_limit.py limits its size."""
    if not JSON_TYPE.match(request.headers.get("content-type", "")):
        raise ApiError("not-json", "send JSON, with Content-Type: application/json")
    body = await request.body()
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(body, error) from error


def _malformed(body: bytes, error: orjson.JSONDecodeError) -> ApiError:
    try:
        text, position = body.decode(), error.pos
    except UnicodeDecodeError as fault:
        text = body[: fault.start].decode()
        position = len(text)
    field = member_at(text, position) or "body"
    return ApiError(
        "malformed-json", "the body is not JSON", errors=[FieldError(field=field, reason=f"{error.msg}, at {position}")]
    )


def member_at(text: str, position: int) -> str:
    """Return the member of the outermost object that contains this position; "" if it cannot be told."""
    if position > MAX_SEARCH_CHARS:
        return ""
    depth, last, member = 0, "", ""
    for token in TOKEN.finditer(text, 0, position):
        match token[0]:
            case "{" | "[":
                depth += 1
            case "}" | "]":
                depth -= 1
                member = member if depth else ""
            case ":" if depth == 1:
                member = last
            case "," if depth == 1:
                member = ""
            case string:
                last = string
    try:
        return str(orjson.loads(member))[:200] if member else ""
    except orjson.JSONDecodeError:
        return ""
