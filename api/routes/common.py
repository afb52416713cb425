"""What routes share: the parsed body, idempotency keys, cursors, and the answer to a write."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BaseModel

from api.errors import ApiError
from ledger.envelope import Actor, idempotent_id
from ledger.errors import InvalidEvent
from ledger.store import Recorded

Row = TypeVar("Row")

MAX_ID = 2**63 - 1


class JsonRequest(Request):
    """Reads JSON with orjson: strict about NaN, surrogates and depth, and several times faster."""

    async def json(self) -> Any:
        """The parsed body. Raises orjson.JSONDecodeError, which is a json.JSONDecodeError."""
        return orjson.loads(await self.body())


class JsonRoute(APIRoute):
    """A route whose body is read by JsonRequest."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the handler that FastAPI makes."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.__class__ = JsonRequest  # the same request, read by other rules: a second one costs as much as parsing
            return await handler(request)

        return handle


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text of your choice, new for each new command: sent again, the command is not recorded twice.",
    ),
]


def event_id(actor: Actor, key: str | None) -> UUID | None:
    """The event's id where the caller sent a key: the same for every attempt of the same caller."""
    return None if key is None else idempotent_id(actor.id, key)


def recorded(status: int, content: object, at: Recorded, location: str) -> Response:
    """The answer to a write: what was made, and where it stands in the chain."""
    return Response(
        orjson.dumps(content),
        status,
        headers={"Location": location, "Ledger-Position": str(at.position), "Ledger-Hash": at.hash.hex()},
        media_type="application/json",
    )


RECORDED_HEADERS: dict[str, Any] = {
    "Location": {"description": "Where to read it.", "schema": {"type": "string"}},
    "Ledger-Position": {"description": "Its position in the chain.", "schema": {"type": "integer"}},
    "Ledger-Hash": {"description": "Its hash, 64 hex digits.", "schema": {"type": "string"}},
}


class Page(BaseModel, Generic[Row]):
    """Some rows of a list; `next_cursor` is null on the last page."""

    items: list[Row]
    next_cursor: str | None


def page(items: list[dict[str, Any]], limit: int, position: int | None) -> Response:
    """A page of at most `limit` of the items; one more was asked for to see whether there is a next page."""
    more = len(items) > limit
    items = items[:limit]
    cursor = encode_cursor(items[-1]["id"], position) if more else None
    return as_json({"items": items, "next_cursor": cursor})


def as_json(content: object) -> Response:
    """Rows as JSON: money as strings, times as RFC 3339 UTC."""
    return Response(orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z), media_type="application/json")


def encode_cursor(last_id: int, position: int | None) -> str:
    """Opaque to callers: the last id seen, and the position a list as of some moment keeps to."""
    return base64.urlsafe_b64encode(orjson.dumps([last_id, position])).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, int | None]:
    """The inverse. Raises InvalidEvent for what was not made by encode_cursor."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        found = None
    match found:
        case [int(last_id), int() | None as position] if 0 < last_id <= MAX_ID and 0 <= (position or 0) <= MAX_ID:
            return last_id, position
    raise InvalidEvent("cursor", "not a cursor of this list: leave it out to start from the newest")


class Paging(BaseModel):
    """How a list is asked for."""

    limit: int
    cursor: str | None
    as_of: int | datetime | None
    consistency: Literal["strong", "eventual"]


AsOf = Annotated[
    Annotated[int, Query(ge=0, le=MAX_ID)] | AwareDatetime | None,
    Query(description="Read as it was: a ledger position, or a time (RFC 3339, with offset)."),
]
Consistency = Annotated[
    Literal["strong", "eventual"],
    Query(description="strong waits for all that was acknowledged before; eventual answers at once."),
]


def paging(
    limit: Annotated[int, Query(ge=1, le=200, description="Rows a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="next_cursor of the page before.")] = None,
    as_of: AsOf = None,
    consistency: Consistency = "strong",
) -> Paging:
    """The query parameters of every list."""
    return Paging.model_construct(limit=limit, cursor=cursor, as_of=as_of, consistency=consistency)


Pages = Annotated[Paging, Depends(paging)]


def not_found(what: str) -> ApiError:
    """There is no row of this id (yet, where the caller asked as of some moment)."""
    return ApiError(404, f"{what}-unknown", f"there is no such {what}")
