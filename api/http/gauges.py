"""Make gauges for `/metrics`. The value of an unknown gauge is NaN."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import nan
from typing import TypeVar

from prometheus_client.core import GaugeMetricFamily

from api.services import Services
from ledger.database import AsyncConnection
from ledger.errors import Unavailable

T = TypeVar("T")


async def read(services: Services, query: Callable[[AsyncConnection], Awaitable[T]]) -> T | None:
    """Run a query; None if the database does not answer within the patience."""
    try:
        return await services.ledger.readers.run(query, within_s=services.ledger.patience_s)
    except Unavailable:
        return None


def gauge(name: str, documentation: str, value: float | None) -> GaugeMetricFamily:
    """Make a gauge with one value."""
    return GaugeMetricFamily(f"advice_ledger_{name}", documentation, value=number(value))


def gauge_by(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    """Make a gauge without values; one is added for each combination of labels."""
    return GaugeMetricFamily(f"advice_ledger_{name}", documentation, labels=labels)


def number(value: float | None) -> float:
    """Return a value, or NaN if it is not known."""
    return nan if value is None else float(value)
