"""Share parts of routes: idempotency keys, parameters, cursors, and the answer to a write."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, tzinfo
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from fastapi import Header, Path, Query
from fastapi.responses import Response
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from api import times
from api.http.problems import ApiError, documented
from ledger.store.envelope import Actor, idempotent_id
from ledger.store.events import Receipt
from schema.fields import nfc

# The largest integer that every JSON reader keeps exact. No ledger will have so many events.
MAX_ID = 2**53 - 1
DIGITS = re.compile(r"[0-9]{1,19}")

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
    """Refuse texts that int() would also accept: " 7", "7_0" and digits of other scripts."""
    if isinstance(value, str) and not DIGITS.fullmatch(value):
        raise PydanticCustomError("plain_id", "Input should be a number in plain digits")
    return value


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn BadTime into the error that pydantic reports with its field."""
    try:
        yield
    except times.BadTime as error:
        raise PydanticCustomError("time", "Input should be {form} (in a URL, + is %2B)", {"form": str(error)}) from None


def _time(value: str) -> datetime | date:
    with _explained():
        return times.parse(value)


def _position_or_time(value: str) -> int | datetime | date:
    if not DIGITS.fullmatch(value):
        return _time(value)
    if int(value) > MAX_ID:
        raise PydanticCustomError("position", "Input should be a position")
    return int(value)


def known_zone(name: str) -> str:
    """Return the name of a time zone. Raises PydanticCustomError for an unknown one."""
    with _explained():
        times.zone_of(name)
    return name


RowId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(plain_id)]
PathId = Annotated[RowId, Path()]
TIME_SCHEMA = [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]
Time = Annotated[datetime, PlainValidator(_time), WithJsonSchema({"anyOf": TIME_SCHEMA})]
# PostgreSQL cannot store U+0000. Bytes that are not UTF-8 become U+FFFD, and such a filter would match nothing.
FilterText = Annotated[str, BeforeValidator(nfc), Field(min_length=1, max_length=200, pattern=r"^[^\x00\ufffd]*$")]
AsOf = Annotated[
    int | datetime,
    PlainValidator(_position_or_time),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_ID}, *TIME_SCHEMA]}),
]


class NoParameters(BaseModel):
    """The query of a route without parameters: a parameter that is sent is refused by name, as on every other route."""

    model_config = ConfigDict(extra="forbid")


NoQuery = Annotated[NoParameters, Query()]


class ReadOne(BaseModel):
    """Query parameters for one row."""

    model_config = ConfigDict(extra="forbid")

    # Must come before the times, whose dates are days of this zone.
    zone: Annotated[str, AfterValidator(known_zone)] = Field(
        times.DEFAULT_ZONE, description="The time zone of dates, such as Europe/Zurich."
    )
    as_of: AsOf | None = Field(
        None,
        description="Read the state at this ledger position, at this time (with an offset), or at the end of this day.",
    )
    consistency: Literal["strong", "eventual"] = Field(
        "strong", description="strong waits for everything that was acknowledged before; eventual answers at once."
    )

    @field_validator("as_of")
    @classmethod
    def _last_of_the_day(cls, value: int | datetime | date | None, info: ValidationInfo) -> int | datetime | None:
        return instant_of(times.last, value, info) if isinstance(value, date) else value

    @property
    def zone_header(self) -> dict[str, str]:
        """The response header that names the zone; empty if the query has no time."""
        times_ = (self.as_of, getattr(self, "created_from", None), getattr(self, "created_to", None))
        return {"Ledger-Time-Zone": self.zone} if any(isinstance(each, datetime) for each in times_) else {}


def instant_of(
    which: Callable[[datetime | date, tzinfo], datetime], value: datetime | date | None, info: ValidationInfo
) -> datetime | None:
    """Return the instant of a time or date in the zone of the query. An unknown zone is an error of its own."""
    if value is None:
        return None
    with _explained():
        return which(value, times.zone_of(info.data.get("zone", times.DEFAULT_ZONE)))


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


def as_json(content: object, query: ReadOne | None = None) -> Response:
    """Write rows as JSON: money as strings, times as RFC 3339 UTC. Caches may not keep the answer, because it is
    personal.

    If `query` has times, a header names their zone.
    """
    return Response(
        orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z),
        headers={"Cache-Control": "no-store", **(query.zone_header if query else {})},
        media_type="application/json",
    )


def not_found(what: str) -> ApiError:
    """Return the error for an id without a row, or without one at the `as_of` position."""
    return ApiError(f"{what}-unknown", f"there is no such {what}")
