"""What a run reads with the memory of earlier ones is what it reads without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest

from ledger.domain.monitoring.run import Run
from ledger.service.ledger import Ledger
from ledger.service.monitoring.inputs import Inputs, read_inputs
from ledger.service.monitoring.memory import Memory
from ledger.store.head import read_head_async
from schema.events import DefinePortfolio, RecordHoldings
from tests.ledger.service.test_clients import opened
from tests.ledger.service.test_monitoring import ERASE
from tests.ledger.service.watching import ANN, OPS, equity, prices, run, text, watch
from tests.tampering import tamper


def parts_of(inputs: Inputs) -> dict[str, Any]:
    """Return what was read, in a form that compares: conditions are compared by what is in them."""
    found = {each.name: getattr(inputs, each.name) for each in fields(inputs)}
    kept = {name: (one.policy, one.digest, one.prices, one.rates) for name, one in inputs.conditions.items()}
    return {**found, "conditions": kept}


@pytest.mark.tampers
def test_a_memory_reads_what_is_new_and_forgets_what_was_erased(database_url: str) -> None:
    """After each act, at its position and a day before: the same inputs, whatever was read earlier."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1", "p2"])
            memory = Memory()
            for act in _acts(ledger, database_url):
                await act()
                for day in ("2026-03-04", "2026-03-03"):
                    remembered, anew = await _read(ledger, day, memory), await _read(ledger, day, None)
                    assert parts_of(remembered) == parts_of(anew)
            anew = await _read(ledger, "2026-03-04", None)
            assert anew.definitions["p1"].weights is None
            assert anew.holdings["p2"] is not None

    asyncio.run(work())


async def _read(ledger: Ledger, day: str, memory: Memory | None) -> Inputs:
    head = await ledger.readers.run_short(read_head_async)
    assert head is not None
    one = Run(1, datetime.fromisoformat(f"{day}T18:00:00Z"), head.position, historical=True)
    return await ledger.readers.run(lambda conn: read_inputs(conn, one, memory=memory))


def _acts(ledger: Ledger, url: str) -> list[Callable[[], Awaitable[Any]]]:
    async def define() -> None:
        body = {"client_id": "client of p2", "base": "USD", "targets": {"EQ": "0.5"}, "rest": "BD"}
        await ledger.portfolios.define(
            ANN, "p2", DefinePortfolio.model_validate({**body, "policy": "drift", "source": "house"})
        )

    async def hold(day: str) -> None:
        await ledger.portfolios.record_holdings(ANN, "p2", RecordHoldings(as_of=day, positions={"EQ": "2", "BD": "1"}))

    async def erase() -> None:
        await asyncio.to_thread(tamper, url, ERASE)

    return [
        lambda: ledger.portfolios.record_prices(OPS, [equity("2026-03-03", "6")]),
        lambda: run(ledger, "2026-03-03"),
        define,
        lambda: hold("2026-03-02"),
        lambda: hold("2026-03-04"),
        lambda: ledger.portfolios.record_prices(OPS, [prices("2026-03-03", EQ="61")]),
        lambda: ledger.portfolios.adopt_policy(OPS, "drift", text(stale_after_days=4)),
        lambda: run(ledger, "2026-03-04"),
        erase,
        lambda: ledger.portfolios.record_prices(OPS, [equity("2026-03-04", "1")]),
    ]
