"""Parts that routes share: idempotency keys, parameters, cursors, and the answer to a write."""

from __future__ import annotations

import base64
import contextlib
import re
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

import orjson
from fastapi import Header, Path
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from api.http.problems import ApiError, documented
from ledger.errors import InvalidEvent
from ledger.store.envelope import Actor, idempotent_id
from ledger.store.events import Receipt
from schema.fields import nfc

Row = TypeVar("Row")

# The largest integer that every JSON reader keeps exact; no ledger will have this many events.
MAX_ID = 2**53 - 1
DIGITS = re.compile(r"[0-9]{1,19}")
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,40})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Any text, new for each new command. A command that is sent again with its key is recorded once.",
    ),
]


def plain_id(value: object) -> object:
    """Refuse what int() would also take for a number: " 7", "7_0" and digits of other scripts."""
    if isinstance(value, str) and not DIGITS.fullmatch(value):
        raise PydanticCustomError("plain_id", "Input should be a number in plain digits")
    return value


def _time(value: object) -> object:
    """Refuse what pydantic would also take for a time: "5" as five seconds after 1970, and dates."""
    with contextlib.suppress(ValueError):
        if isinstance(value, str) and RFC_3339.fullmatch(value):
            return datetime.fromisoformat(value.upper())
    raise PydanticCustomError(
        "rfc_3339", "Input should be a time like 2030-01-31T12:00:00Z, with an offset (in a URL, + is %2B)"
    )


def _position_or_time(value: object) -> object:
    if not isinstance(value, str) or not DIGITS.fullmatch(value):
        return _time(value)
    if int(value) > MAX_ID:
        raise PydanticCustomError("position", "Input should be a position")
    return int(value)


RowId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(plain_id)]
PathId = Annotated[RowId, Path()]
Time = Annotated[datetime, BeforeValidator(_time)]
# PostgreSQL cannot store U+0000. Bytes that are not UTF-8 become U+FFFD, and such a filter would match nothing.
FilterText = Annotated[str, BeforeValidator(nfc), Field(min_length=1, max_length=200, pattern=r"^[^\x00\ufffd]*$")]
AsOf = Annotated[
    int | datetime,
    BeforeValidator(_position_or_time),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_ID},
                {"type": "string", "format": "date-time"},
            ]
        }
    ),
]


class ReadOne(BaseModel):
    """Query parameters for one row."""

    model_config = ConfigDict(extra="forbid")

    as_of: AsOf | None = Field(
        None, description="Read the state at this ledger position, or at this time (with an offset)."
    )
    consistency: Literal["strong", "eventual"] = Field(
        "strong", description="strong waits for everything that was acknowledged before; eventual answers at once."
    )


class ReadList(ReadOne):
    """Query parameters for a list; subclasses add its filters."""

    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(plain_id)] = Field(50, description="Rows per page.")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the previous page."
    )
    created_from: Time | None = Field(None, alias="from", description="Created at or after.")
    created_to: Time | None = Field(None, alias="to", description="Created before.")

    def filters(self) -> dict[str, object]:
        """Return the filters that were used, by their names in projections/reads.py."""
        parameters = self.model_dump(exclude_none=True)
        return {name: value for name, value in parameters.items() if name not in PAGING}


class ReadPage(ReadList):
    """Query parameters for a list whose rows belong to clients."""

    client_id: FilterText | None = None


PAGING = frozenset({"as_of", "consistency", "limit", "cursor"})


def event_id(actor: Actor, key: str | None) -> UUID | None:
    """Derive the event's id from the caller and its key, so that a retry has the same id; None without a key."""
    return None if key is None else idempotent_id(actor.id, key)


def recorded(status: int, content: object, at: Receipt, location: str) -> Response:
    """Answer a write: `content`, and in headers the event's position and hash and where to read the result."""
    return Response(
        orjson.dumps(content),
        status,
        headers={"Location": location, "Ledger-Position": str(at.position), "Ledger-Hash": at.hash.hex()},
        media_type="application/json",
    )


RECORDED_HEADERS: dict[str, Any] = {
    "Location": {"required": True, "description": "The path of the result.", "schema": {"type": "string"}},
    "Ledger-Position": {
        "required": True,
        "description": "The position of the event in the chain.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Ledger-Hash": {
        "required": True,
        "description": "The hash of the event.",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    },
    "Preference-Applied": {
        "description": "`wait`, if the caller sent `Prefer: wait` and a checkpoint covers the event.",
        "schema": {"type": "string"},
    },
    "Ledger-Checkpoint-Size": {
        "description": "The size of that checkpoint.",
        "schema": {"type": "integer", "minimum": 1},
    },
}


# The `responses` of a write about something that exists already.
WRITTEN: dict[int | str, dict[str, Any]] = {
    201: {"headers": RECORDED_HEADERS},
    **documented(400, 401, 403, 404, 409, 413, 415, 422, 503),
}


class Page(BaseModel, Generic[Row]):
    """A page of a list; `next_cursor` is null on the last page."""

    items: list[Row]
    next_cursor: str | None


def page(items: list[dict[str, Any]], limit: int, position: int | None, aside: int) -> Response:
    """Make a page of at most `limit` items. One more item than that shows that there is a next page.

    If `aside` streams were set aside, the header Ledger-Set-Aside says how many: the list lacks their rows.
    """
    more = len(items) > limit
    items = items[:limit]
    cursor = encode_cursor(items[-1]["id"], position) if more else None
    response = as_json({"items": items, "next_cursor": cursor})
    if aside:
        response.headers["Ledger-Set-Aside"] = str(aside)
    return response


def as_json(content: object) -> Response:
    """Write rows as JSON: money as strings, times as RFC 3339 UTC. Caches may not keep them, as they are personal."""
    return Response(
        orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z),
        headers={"Cache-Control": "no-store"},
        media_type="application/json",
    )


def encode_cursor(last_id: int, position: int | None) -> str:
    """Encode the last id of a page and the `as_of` position of the list; callers do not look inside."""
    return base64.urlsafe_b64encode(orjson.dumps([last_id, position])).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[int, int | None]:
    """Decode a cursor. Raises InvalidEvent if `encode_cursor()` did not make it."""
    try:
        content = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        content = None
    match content:
        # isinstance would accept a bool as an int.
        case [last_id, position] if type(last_id) is int and type(position) in {int, type(None)}:
            if 0 < last_id <= MAX_ID and 0 <= (position or 0) <= MAX_ID:
                return last_id, position
    raise InvalidEvent("cursor", "not a cursor of this list: leave it out to start from the newest")


def not_found(what: str) -> ApiError:
    """Make the error for an id without a row, or without one at the `as_of` position."""
    return ApiError(f"{what}-unknown", f"there is no such {what}")
