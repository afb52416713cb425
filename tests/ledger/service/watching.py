"""A watched portfolio for tests: clients, a policy, targets, holdings and prices of a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ledger.domain.monitoring.policy import MonitoringText
from ledger.service.ledger import Ledger
from ledger.service.monitoring.reports import RunReport
from ledger.store.envelope import Actor
from schema.events import ClientRegistered, DefinePortfolio, PricesRecorded, RecordHoldings
from tests.ledger.domain.monitoring.portfolios import policy

ANN, OPS = Actor("ann", "human", "advisor"), Actor("ops", "human", "admin")
TEXT = {"watch": "0.8", "rearm": "0.5", "doubtful_factor": "5"}


def text(**members: Any) -> MonitoringText:
    """Return the policy `drift`: bands of 5 points."""
    return policy(name="drift", **{**TEXT, **members})


async def watch(ledger: Ledger, names: Sequence[str], **members: Any) -> None:
    """Record the policy, and portfolios of one EQ and one BD, each of a client of its own."""
    await ledger.portfolios.adopt_policy(OPS, "drift", text(**members))
    for name in names:
        await ledger.clients.register(ANN, ClientRegistered(client_id=f"client of {name}"))
        body = {"client_id": f"client of {name}", "base": "USD", "targets": {"EQ": "0.6"}, "rest": "BD"}
        defined = DefinePortfolio.model_validate({**body, "policy": "drift", "source": "house"})
        await ledger.portfolios.define(ANN, name, defined)
        holdings = RecordHoldings(as_of="2026-03-01", positions={"EQ": "1", "BD": "1"})
        await ledger.portfolios.record_holdings(ANN, name, holdings)


def prices(day: str, source: str = "ny-close", **amounts: str) -> PricesRecorded:
    """Return the prices of a day in dollars."""
    found = {asset: {"price": amount, "currency": "USD"} for asset, amount in amounts.items()}
    return PricesRecorded.model_validate({"source": source, "date": day, "file_sha256": "0" * 64, "prices": found})


def equity(day: str, points: str) -> PricesRecorded:
    """Return prices at which EQ is `points` above its target of 60 %, exactly, for one EQ and one BD."""
    weight = 60 + Decimal(points)
    return prices(day, EQ=f"{weight}", BD=f"{100 - weight}")


async def run(ledger: Ledger, day: str, hour: int = 18) -> RunReport:
    """Judge as of a day."""
    return (await ledger.monitoring.run(OPS, datetime.fromisoformat(f"{day}T{hour:02}:00:00Z").astimezone(UTC)))[1]
