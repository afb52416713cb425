"""Read a file of prices or rates: NDJSON, or CSV with a header. Each fault names its line and field.

A line has `asset`, `price`, `currency` and perhaps `accepted`; or `from`, `to` and `rate`. The last line must end with
a line break, so that a file that was cut off is noticed. A file with a fault is refused as a whole.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.http.problems import MAX_ERRORS, ApiError, FieldError
from api.json_members import Repeated, check_members
from schema.events import PricesRecorded
from schema.portfolios import Amount, Asset, Currency, Price, Rate

NDJSON, CSV = "application/x-ndjson", "text/csv"
MOST_LINES = 100_000
# The most prices and rates of one event: their longest texts fit into a body.
IN_ONE_EVENT = 4_000
Three = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class PriceLine(BaseModel):
    """A line with a price."""

    model_config = ConfigDict(extra="forbid")

    asset: Asset
    price: Amount
    currency: Currency
    accepted: bool | None = None


class RateLine(BaseModel):
    """A line with a rate: one unit of `from` is `rate` of `to`."""

    model_config = ConfigDict(extra="forbid")

    source: Three = Field(alias="from")
    to: Three
    rate: Rate


def read_prices(body: bytes, media_type: str, day: str, source: str) -> list[PricesRecorded]:
    """Return the events that record a file. Raises ApiError, which names the first faults by line and field."""
    faults: list[FieldError] = []
    prices: dict[str, Price] = {}
    rates: dict[str, str] = {}
    for number, line in _lines(body, media_type, faults):
        if len(faults) >= MAX_ERRORS:
            break
        if not isinstance(line, dict):
            faults.append(FieldError(field=f"line {number}", reason="Input should be a JSON object"))
        elif "rate" in line or "from" in line:
            _add_rate(number, line, rates, faults)
        else:
            _add_price(number, line, prices, faults)
    if not faults and not prices and not rates:
        faults.append(FieldError(field="body", reason="the file has no prices and no rates"))
    if faults:
        raise ApiError("invalid", f"not valid: {', '.join(fault.field for fault in faults)}", errors=faults)
    return list(_events(prices, rates, day, source, hashlib.sha256(body).hexdigest()))


def _lines(body: bytes, media_type: str, faults: list[FieldError]) -> Iterator[tuple[int, Any]]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        faults.append(FieldError(field="body", reason="the file is not UTF-8"))
        return
    if text and not text.endswith("\n"):
        faults.append(FieldError(field="body", reason="the last line does not end with a line break: is it cut off?"))
    elif text.count("\n") > MOST_LINES:
        faults.append(FieldError(field="body", reason=f"the file has more than {MOST_LINES} lines"))
    elif media_type == CSV:
        yield from _csv(text, faults)
    else:
        for number, line in enumerate(text.splitlines(), 1):
            try:
                content = orjson.loads(line)
                check_members(line)
                yield number, content
            except orjson.JSONDecodeError:
                faults.append(FieldError(field=f"line {number}", reason="not JSON"))
            except Repeated:
                faults.append(FieldError(field=f"line {number}", reason="a member stands twice"))


def _csv(text: str, faults: list[FieldError]) -> Iterator[tuple[int, Any]]:
    rows = csv.reader(io.StringIO(text), strict=True)
    header: list[str] | None = None
    try:
        for row in rows:
            if header is None:
                header = row
            elif len(row) != len(header):
                reason = f"has {len(row)} fields; the header has {len(header)}"
                faults.append(FieldError(field=f"line {rows.line_num}", reason=reason))
            else:
                yield rows.line_num, {name: value for name, value in zip(header, row, strict=True) if value}
    except csv.Error:
        faults.append(FieldError(field=f"line {rows.line_num}", reason="not CSV"))


def _add_price(number: int, line: Mapping[str, Any], prices: dict[str, Price], faults: list[FieldError]) -> None:
    try:
        found = PriceLine.model_validate(line)
    except ValidationError as error:
        faults.extend(_named(number, error))
        return
    if found.asset in prices:
        faults.append(FieldError(field=f"line {number}: asset", reason="the file has a price of this asset already"))
    prices[found.asset] = Price(price=found.price, currency=found.currency, accepted=found.accepted or None)


def _add_rate(number: int, line: Mapping[str, Any], rates: dict[str, str], faults: list[FieldError]) -> None:
    try:
        found = RateLine.model_validate(line)
    except ValidationError as error:
        faults.extend(_named(number, error))
        return
    pair, inverse = f"{found.source}/{found.to}", f"{found.to}/{found.source}"
    if pair in rates or inverse in rates or found.source == found.to:
        reason = "the two currencies are one, or the file has a rate of them already"
        faults.append(FieldError(field=f"line {number}: from", reason=reason))
    rates[pair] = found.rate


def _named(number: int, error: ValidationError) -> Iterator[FieldError]:
    for item in error.errors():
        name = ".".join(str(part)[:100] for part in item["loc"])
        yield FieldError(field=f"line {number}: {name}", reason=str(item["msg"]))


def _events(
    prices: Mapping[str, Price], rates: Mapping[str, str], day: str, source: str, digest: str
) -> Iterator[PricesRecorded]:
    entries: list[tuple[str, Any]] = [*prices.items(), *rates.items()]
    for first in range(0, len(entries), IN_ONE_EVENT):
        part = entries[first : first + IN_ONE_EVENT]
        of_part = {name: value for name, value in part if isinstance(value, Price)}
        others = {name: value for name, value in part if not isinstance(value, Price)}
        yield PricesRecorded(source=source, date=day, file_sha256=digest, prices=of_part or None, rates=others or None)
