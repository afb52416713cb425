"""Routes about portfolios that are watched: what they should hold, what they hold, their prices and their drift."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayDefinePortfolios, MayReadMonitoring, MayReadPortfolios, MayRecordPrices, Reader
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.json_body import Bounds, Form, read_body
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList, ReadPage
from api.http.media_types import IN_FORMS
from api.http.monitoring_shapes import Drift
from api.http.parameters import (
    RECORDED_HEADERS,
    WRITTEN,
    FilterText,
    IdempotencyKey,
    NoQuery,
    ReadOne,
    RowId,
    as_json,
    event_id,
    not_found,
    recorded,
)
from api.http.prices_file import CSV, NDJSON, read_prices
from api.http.problems import ApiError, documented
from api.http.read_list import Part, read_list
from api.http.reading import read_one
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.domain.monitoring.portfolio import stream_of
from ledger.domain.monitoring.run import second
from ledger.service.monitoring.inputs import read_market
from ledger.store.events import Receipt
from projections.drift_history.model import DRIFT_HISTORY, shown
from projections.portfolios.model import PORTFOLIOS, PortfolioRow
from projections.reads import AsOf
from schema.events import DefinePortfolio, RecordFlow, RecordHoldings
from schema.fields import Code
from schema.portfolios import Day, PortfolioName

router = APIRouter(tags=["portfolios"], route_class=JsonRoute)
prices_router = APIRouter(tags=["portfolios"])

Name = Annotated[PortfolioName, Path(description="The name of the portfolio, which identifies nobody.")]
PRICES = Bounds(MAX_REQUEST_BYTES, 0)
FORM = Form(re.compile(rf"({NDJSON}|{CSV})\s*(;|$)", re.ASCII | re.IGNORECASE), f"send Content-Type: {CSV} or {NDJSON}")
PUT: dict[int | str, dict[str, Any]] = {
    200: {"headers": RECORDED_HEADERS, "description": "Recorded before."},
    **WRITTEN,
}
FILE = {"type": "string", "description": "Lines with asset, price, currency; or from, to, rate."}


class PortfolioRecorded(BaseModel):
    """The event on record. `changed` is false if it was on record already."""

    portfolio: str
    event: int
    changed: bool


class PricesOnRecord(BaseModel):
    """The last of the events that record the file."""

    date: str
    event: int
    events: int


class DayPrice(BaseModel):
    """A price as it was recorded last."""

    asset: str
    price: str
    currency: str
    source: str
    accepted: bool


class DayRate(BaseModel):
    """A rate as it was recorded last: one unit of `from` is `rate` of `to`."""

    pair: str
    rate: str


class DayPrices(BaseModel):
    """The prices and rates of a day."""

    date: str
    prices: list[DayPrice]
    rates: list[DayRate]


class ReadPortfolios(ReadPage):
    """Query parameters of the list of portfolios."""

    client: RowId | None = None
    policy: FilterText | None = None


class ReadDrift(ReadList):
    """Query parameters of the drift of a portfolio: `from` and `to` are times that runs judge."""

    def filters(self) -> dict[str, object]:
        """Return the filters, by the times that runs judge."""
        found = super().filters()
        names = {"created_from": "as_of_from", "created_to": "as_of_to"}
        return {names[name]: second(value) for name in names if (value := found.get(name)) is not None}  # type: ignore[arg-type]


@router.put("/portfolios/{name}", status_code=201, response_model=PortfolioRecorded, responses=PUT)
async def define_portfolio(
    services: InjectedServices,
    caller: MayDefinePortfolios,
    name: Name,
    body: DefinePortfolio,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Watch a client's portfolio, or give it other targets. Role: advisor."""
    receipt, changed = await services.ledger.portfolios.define(caller, name, body, event_id(caller, idempotency_key))
    return _put(name, receipt, changed)


@router.put("/portfolios/{name}/holdings", status_code=201, response_model=PortfolioRecorded, responses=PUT)
async def record_holdings(
    services: InjectedServices,
    caller: MayDefinePortfolios,
    name: Name,
    body: RecordHoldings,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record all that a portfolio holds from a day on. Role: advisor."""
    key = event_id(caller, idempotency_key)
    receipt, changed = await services.ledger.portfolios.record_holdings(caller, name, body, key)
    return _put(name, receipt, changed)


@router.post("/portfolios/{name}/flows", status_code=201, response_model=PortfolioRecorded, responses=PUT)
async def record_flow(
    services: InjectedServices,
    caller: MayDefinePortfolios,
    name: Name,
    body: RecordFlow,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record what came into a portfolio or went out of it. Role: advisor."""
    receipt, changed = await services.ledger.flows.record_one(caller, name, body, event_id(caller, idempotency_key))
    return _put(name, receipt, changed)


@router.get(
    "/portfolios",
    response_model=Page[PortfolioRow],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_portfolios(
    services: InjectedServices, request: Request, caller: MayReadPortfolios, query: Annotated[ReadPortfolios, Query()]
) -> Response:
    """List portfolios, the newest first. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, PORTFOLIOS, query, PortfolioRow)


@router.get("/portfolios/{name}", response_model=PortfolioRow, responses=documented(401, 403, 404, 422, 503))
async def get_portfolio(
    services: InjectedServices, caller: MayReadPortfolios, name: Name, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one portfolio. Roles: advisor, compliance, examiner."""
    row = await _row(services, caller, name, query)
    return as_json(row, query)


@router.get(
    "/portfolios/{name}/drift",
    response_model=Page[Drift],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def get_drift(
    services: InjectedServices,
    request: Request,
    caller: MayReadPortfolios,
    name: Name,
    query: Annotated[ReadDrift, Query()],
) -> Response:
    """Read what runs found about a portfolio, the newest first. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    await _row(services, caller, name, query)

    async def finish(_conn: AsyncConnection, rows: list[dict[str, Any]], _as_of: AsOf) -> list[dict[str, Any]]:
        return [shown(row) for row in rows]

    # The portfolio is in the reader's scope, and that it was read is recorded.
    everywhere = replace(caller, actor=replace(caller.actor, scope=None))
    part = Part({"portfolio": name}, finish)
    return await read_list(services, request, everywhere, DRIFT_HISTORY, query, Drift, part)


@prices_router.post(
    "/prices/{day}",
    status_code=201,
    response_model=PricesOnRecord,
    responses=WRITTEN,
    openapi_extra={"requestBody": {"required": True, "content": {NDJSON: {"schema": FILE}, CSV: {"schema": FILE}}}},
)
async def record_prices(
    services: InjectedServices,
    request: Request,
    caller: MayRecordPrices,
    day: Annotated[Day, Path(description="The day of the prices.")],
    source: Annotated[Code, Query(description="Whose prices these are, such as ny-close.")],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record a file of prices or rates of a day, as NDJSON or CSV: all of it or nothing. Role: admin."""
    body = await read_body(request, PRICES, FORM)
    media_type = request.headers["content-type"].partition(";")[0].strip().lower()
    events = await asyncio.to_thread(read_prices, body, media_type, day, source)
    receipt = await services.ledger.portfolios.record_prices(caller, events, event_id(caller, idempotency_key))
    answer = {"date": day, "event": receipt.position, "events": len(events)}
    return recorded(201, answer, receipt, f"/prices/{day}")


@router.get("/prices/{day}", response_model=DayPrices, responses=documented(401, 403, 404, 422, 503))
async def get_prices(
    services: InjectedServices, caller: MayReadMonitoring, day: Annotated[Day, Path()], _query: NoQuery
) -> Response:
    """Read the prices and rates of a day, each as it was recorded last. Roles: admin, advisor, auditor, compliance."""
    market = await services.ledger.readers.run(lambda conn: read_market(conn, [day]))
    prices = [
        {
            "asset": asset,
            "price": f"{quote.amount:f}",
            "currency": quote.currency,
            "source": quote.source,
            "accepted": quote.accepted,
        }
        for asset, by_day in sorted(market.quotes.items())
        for quote in by_day.values()
    ]
    rates = [{"pair": "/".join(pair), "rate": f"{rate:f}"} for pair, (_, rate) in sorted(market.rates.items())]
    if not prices and not rates:
        raise ApiError("prices-unknown", "there are no prices and no rates of this day")
    return as_json({"date": day, "prices": prices, "rates": rates})


async def _row(services: Services, reader: Reader, name: str, query: ReadOne) -> dict[str, Any]:
    """Read a portfolio by its name. Raises ApiError `portfolio-unknown`."""
    first = await services.ledger.portfolios.executor.first(stream_of(name))
    if first is None:
        raise not_found("portfolio")
    return await read_one(services, reader, PORTFOLIOS, first.position, query, "portfolio", stream_of(name))


def _put(name: str, receipt: Receipt, changed: bool) -> Response:
    answer = {"portfolio": name, "event": receipt.position, "changed": changed}
    return recorded(201 if changed else 200, answer, receipt, f"/portfolios/{name}")
