"""Share parts of lists: their parameters, the shape of a page, and cursors."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from api import times
from api.http.parameters import MAX_ID, FilterText, ReadOne, RowId, Time, instant_of, plain_id
from ledger.errors import InvalidEvent
from projections.rows import Order, RowCount
from schema.fields import Money

Row = TypeVar("Row")

# Parameters that select no rows.
PAGING = frozenset({"zone", "as_of", "consistency", "limit", "cursor", "order", "count", "fields"})


# The number of rows in an answer without pages.
MostRows = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(plain_id)]
MOST_STATES = Field(min_length=1, max_length=20)
SEVERAL = "One of these; name the parameter again for each."


class ReadRange(ReadOne):
    """Query parameters for what took place in a range of time."""

    created_from: Time | None = Field(None, alias="from", description="At or after this time, or on this day.")
    created_to: Time | None = Field(None, alias="to", description="Before this time, or up to this day.")

    @field_validator("created_from")
    @classmethod
    def _first_of_the_day(cls, value: datetime | date | None, info: ValidationInfo) -> datetime | None:
        return instant_of(times.start, value, info)

    @field_validator("created_to")
    @classmethod
    def _end_of_the_day(cls, value: datetime | date | None, info: ValidationInfo) -> datetime | None:
        return end_of_range(value, info, "created_from", "from")

    def filters(self) -> dict[str, object]:
        """Return the filters that were used, by their names in projections/rows.py."""
        parameters = self.model_dump(exclude_none=True)
        return {name: _plain(value) for name, value in parameters.items() if name not in PAGING}


class ReadWindow(ReadRange):
    """Query parameters for pages of what took place in a range of time."""

    limit: Annotated[int, Field(ge=1, le=200), BeforeValidator(plain_id)] = Field(50, description="Rows per page.")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the previous page."
    )


class ReadList(ReadWindow):
    """Query parameters for a list; subclasses add its filters."""

    order: Order = Field("newest", description="Which rows come first: those with the highest id, or the lowest.")
    count: bool = Field(False, description="Say how many rows match, on all pages together.")


class ReadPage(ReadList):
    """Query parameters for a list whose rows belong to clients."""

    client_id: FilterText | None = None


class ReadOfRequests(ReadPage):
    """Query parameters for requests, and for what became of them."""

    requested_by: FilterText | None = Field(None, description="Requests by this subject.")
    amount_from: Money | None = Field(None, description="Requests for this amount or more.")
    amount_to: Money | None = Field(None, description="Requests for this amount or less.")
    fields: Literal["all", "summary"] = Field(
        "all", description="summary leaves out contents, texts and salts: everything sealed but the client."
    )

    @model_validator(mode="after")
    def _amounts_in_order(self) -> ReadOfRequests:
        if self.amount_from is not None and self.amount_to is not None and self.amount_to < self.amount_from:
            raise PydanticCustomError("reversed", "Input should not have amount_to below amount_from")
        return self


class ReadOfDecisions(ReadOfRequests):
    """Query parameters for rows with a decision and a communication."""

    request_id: RowId | None = None
    decided_by: FilterText | None = Field(None, description="Decided by this subject.")
    reason_code: FilterText | None = Field(None, description="With this reason.")
    decided_from: Time | None = Field(None, description="Decided at or after this time, or on this day.")
    decided_to: Time | None = Field(None, description="Decided before this time, or up to this day.")
    communicated_from: Time | None = Field(
        None, description="Communicated to the client at or after this time, or on this day."
    )
    communicated_to: Time | None = Field(None, description="Communicated before this time, or up to this day.")

    @field_validator("decided_from", "communicated_from")
    @classmethod
    def _first_of_each_day(cls, value: datetime | date | None, info: ValidationInfo) -> datetime | None:
        return instant_of(times.start, value, info)

    @field_validator("decided_to", "communicated_to")
    @classmethod
    def _end_of_each_day(cls, value: datetime | date | None, info: ValidationInfo) -> datetime | None:
        start = str(info.field_name).removesuffix("to") + "from"
        return end_of_range(value, info, start, start)


def end_of_range(value: datetime | date | None, info: ValidationInfo, start: str, shown: str) -> datetime | None:
    """Return the first instant after a range; an error if it ends before the member `start`, which callers know as
    `shown`."""
    latest, since = instant_of(times.last, value, info), info.data.get(start)
    if latest is not None and since is not None and latest < since:
        raise PydanticCustomError("reversed", "Input should not be before `{start}`", {"start": shown})
    return instant_of(times.end, value, info)


def _plain(value: object) -> object:
    """Return a value in the form that the database takes: members of an enumeration in a list become texts."""
    return [str(each) for each in value] if isinstance(value, list) else value


class Count(BaseModel):
    """The number of rows that match. If not `exact`, there are at least so many."""

    rows: int
    exact: bool


class Page(BaseModel, Generic[Row]):
    """A page of a list; `next_cursor` is null on the last page.

    `as_of` is the position whose state the page shows. `count` is null unless it was asked for.
    """

    items: list[Row]
    next_cursor: str | None
    as_of: int
    count: Count | None


@dataclass(frozen=True)
class FoundRows:
    """The rows of a list, as of a position. The next page begins at `last_id`; None on the last page.

    `aside`: streams that were set aside, so that the list lacks their rows.
    """

    items: Sequence[dict[str, Any]]
    last_id: int | None
    as_of: int
    aside: int
    count: RowCount | None = None


def encode_cursor(last_id: int, position: int | None) -> str:
    """Encode the last id of a page and the `as_of` position of the list as an opaque cursor."""
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
    raise InvalidEvent("cursor", "not a cursor of this list: leave it out to start from the beginning")
