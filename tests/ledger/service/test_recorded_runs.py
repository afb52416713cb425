"""Runs that an earlier version recorded are computed again to the roots that it recorded."""

from __future__ import annotations

import asyncio
from typing import Any

from ledger.service.ledger import Ledger
from ledger.store.envelope import NewEvent, uuid7
from schema.events import ClientRegistered, HoldingsRecorded, PortfolioDefined, PricesRecorded
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, run, text

# What was recorded of the portfolios below, before there were corporate actions, flows or valuations.
ROOTS = [
    "a70bc793bcaf896ed16c26e549fdc93095c822e56bf1969b21e844c732269daf",
    "da5a7dea1eb4dd7edb880aea75d3e648ee371c2efdb237731849668f19ec31ba",
]
CONDITIONS = [
    {"ok": 2, "watch": 0, "breached": 2, "unknown": 1},
    {"ok": 1, "watch": 0, "breached": 2, "unknown": 2},
]
PORTFOLIOS: dict[str, dict[str, Any]] = {
    "plain": {"base": "USD", "targets": {"EQ": "0.60"}, "rest": "BD"},
    "abroad": {"base": "EUR", "targets": {"EQ": "0.3", "EM": "0.3"}, "rest": "BD"},
    "off": {"base": "USD", "targets": {"EQ": "0.1", "BD": "0.9"}},
    "jumped": {"base": "CHF", "targets": {"XX": "1"}},
    "old": {"base": "USD", "targets": {"OLD": "0.5", "EQ": "0.5"}},
}
HELD = {
    "plain": {"EQ": "60.5", "BD": "39.25", "CASH": "-10.000000000001"},
    "abroad": {"EQ": "1", "EM": "777.123456789", "BD": "2"},
    "off": {"EQ": "7", "BD": "3"},
    "jumped": {"XX": "10"},
    "old": {"OLD": "1", "EQ": "1"},
}
PRICES: list[tuple[str, str, dict[str, tuple[str, str]]]] = [
    ("2026-02-20", "late", {"OLD": ("5", "USD")}),
    ("2026-03-02", "late", {"OTHER": ("1", "USD")}),
    ("2026-03-02", "ny", {"EQ": ("101.37", "USD"), "BD": ("99.5", "EUR"), "CASH": ("1", "USD"), "XX": ("3", "CHF")}),
    ("2026-03-02", "ln", {"EM": ("7.000000000001", "GBX")}),
    ("2026-03-03", "ny", {"EQ": ("99.01", "USD"), "BD": ("99.75", "EUR"), "CASH": ("1", "USD"), "XX": ("30", "CHF")}),
]
RATES = {"EUR/USD": "1.0834", "GBP/USD": "1.27", "USD/CHF": "0.9"}


async def fill(ledger: Ledger) -> None:
    """Record the portfolios, each with a salt that is the same each time, and two days of prices."""
    await ledger.portfolios.adopt_policy(OPS, "drift", text(turnover="0.1", single_limit="0.65", stale_after_days=0))
    for number, (name, body) in enumerate(PORTFOLIOS.items(), 1):
        owner = {"client_id": f"owner of {name}", "client": number}
        defined = PortfolioDefined.model_validate({**owner, **body, "policy": "drift", "source": "house"})
        held = HoldingsRecorded.model_validate({**owner, "as_of": "2026-03-01", "positions": HELD[name]})
        registered = ClientRegistered(client_id=f"owner of {name}")
        await ledger.writer.append(
            [
                NewEvent(uuid7(), f"client-{number}", registered, ANN),
                NewEvent(uuid7(), f"portfolio-{name}", defined, ANN, salts={"client_id": bytes([number] * 32)}),
                NewEvent(uuid7(), f"holdings-{name}", held, ANN),
            ]
        )
    for day, source, amounts in PRICES:
        found = {asset: {"price": price, "currency": currency} for asset, (price, currency) in amounts.items()}
        body = {"source": source, "date": day, "file_sha256": "0" * 64, "prices": found, "rates": RATES}
        await ledger.portfolios.record_prices(OPS, [PricesRecorded.model_validate(body)])


def test_runs_of_an_earlier_version_have_the_roots_that_it_recorded(database_url: str) -> None:
    """Bit for bit: a rule that was added later changes no judgement that did not have its input."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await fill(ledger)
            reports = [await run(ledger, day) for day in ("2026-03-02", "2026-03-03")]
            assert [report.conditions for report in reports] == CONDITIONS
            assert [report.root for report in reports] == ROOTS
            for report in reports:
                assert (await ledger.monitoring.replay(report.run)).agrees

    asyncio.run(work())
