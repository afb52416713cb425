"""Read a JSON body with orjson, within the limits of its command.

It refuses values that the record cannot hold: NaN and infinities (such as 1e400), lone surrogates, bytes that are not
UTF-8, nesting deeper than 1024. It also refuses an object in which a member occurs twice.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

import orjson
from fastapi import Request
from pydantic import BaseModel

from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.problems import MAX_ERRORS, ApiError, FieldError
from api.json_members import Repeated, check_members, has_more_members
from schema.events import CallResult, CallStart, Decide, RecommendationRecorded

# The part of a malformed body that is searched for the name of the wrong member.
MAX_SEARCH_CHARS = 1024 * 1024

JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json\s*(;|$)", re.ASCII | re.IGNORECASE)
NDJSON_TYPE = re.compile(r"application/(x-)?ndjson\s*(;|$)", re.ASCII | re.IGNORECASE)
# A string, perhaps cut off, a bracket, or a separator of members.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)|[][{}:,]', re.DOTALL)


class Form(NamedTuple):
    """A form of bodies: its content type, and the text that asks for it."""

    content_type: re.Pattern[str]
    expected: str


JSON = Form(JSON_TYPE, "send JSON, with Content-Type: application/json")
NDJSON = Form(NDJSON_TYPE, "send one JSON object on each line, with Content-Type: application/x-ndjson")


class Bounds(NamedTuple):
    """Limits of a JSON body: its bytes, and the members of all its objects and lists."""

    size: int
    members: int


# The longest texts of a command fit into this with each character escaped.
USUAL = Bounds(1024 * 1024, 2_000)
# Commands with the input or the output of a model, or with a replacement of the output.
LARGE = Bounds(MAX_REQUEST_BYTES, 100_000)
LARGE_COMMANDS = frozenset({CallStart, CallResult, Decide, RecommendationRecorded})
# Larger bodies are parsed in a thread, so that other requests do not wait.
COUNT_AT_ONCE = 256 * 1024


def bounds_of(command: type[BaseModel]) -> Bounds:
    """Return the limits of a command's body."""
    return LARGE if command in LARGE_COMMANDS else USUAL


async def read_json(request: Request, command: type[BaseModel], bounds: Bounds) -> Any:
    """Read and parse the JSON body of a command. Raises ApiError."""
    return _without_most_unknown(await _parse(await read_body(request, bounds), bounds), command)


async def read_body(request: Request, bounds: Bounds, form: Form = JSON) -> bytes:
    """Read a body of this declared form. Raises ApiError as soon as the body is too large."""
    if not form.content_type.match(request.headers.get("content-type", "")):
        raise ApiError("not-json", form.expected)
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ApiError("not-json", "send the body as it is, without Content-Encoding")
    chunks, size = [], 0
    announced = int(request.headers.get("content-length", "0"))
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if max(size, announced) > bounds.size:
            raise ApiError("too-large", f"the body is over {bounds.size} bytes")
    return b"".join(chunks)


async def _parse(body: bytes, bounds: Bounds) -> Any:
    if len(body) <= COUNT_AT_ONCE:
        return _parsed(body, bounds)
    return await asyncio.to_thread(_parsed, body, bounds)


def _parsed(body: bytes, bounds: Bounds) -> Any:
    if has_more_members(body, bounds.members):
        reason = f"the body has more than {bounds.members} members"
        raise ApiError("invalid", reason, errors=[FieldError(field="body", reason=reason)])
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(body, error) from error
    try:
        check_members(body)
    except Repeated as error:
        reason = "stands twice in one object"
        raise ApiError("invalid", f"not valid: {error}", errors=[FieldError(field=str(error), reason=reason)]) from None
    return content


def _without_most_unknown(content: Any, command: type[BaseModel]) -> Any:
    """Leave out unknown members beyond those that the answer will name, because pydantic makes an error for each."""
    if not isinstance(content, dict) or len(content) <= len(command.model_fields) + MAX_ERRORS:
        return content
    known = {name: value for name, value in content.items() if name in command.model_fields}
    unknown = [name for name in content if name not in known]
    return known | {name: content[name] for name in unknown[:MAX_ERRORS]}


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
    """Return the member of the outermost object that contains this position; "" if unknown."""
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
