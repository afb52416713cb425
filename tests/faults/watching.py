"""Commands of monitoring in processes that kill themselves at a step: before or after an append, by its number."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.testing import CliRunner

from api.cli.monitor import app
from ledger.service.ledger import Ledger
from ledger.store.writer import Writer
from schema.events import DefineEndpoint, DefinePortfolio
from tests.api.jobs.running import die
from tests.ledger.service.watching import ANN, OPS, prices, watch

NAMES = ("p1", "p2")
# The file with the valuations that a process records.
VALUATIONS = "valuations.ndjson"


async def scene(ledger: Ledger) -> None:
    """Watch two portfolios whose alerts are told, ask for advice, and escalate each hour."""
    await watch(ledger, NAMES, request_advice=["drift"], escalate_after_hours=list(range(1, 11)))
    for name in NAMES:
        body = {"client_id": f"client of {name}", "base": "USD", "targets": {"EQ": "0.6"}, "rest": "BD"}
        body |= {"policy": "drift", "source": "house", "risk_profile": "balanced"}
        await ledger.portfolios.define(ANN, name, DefinePortfolio.model_validate(body))
    endpoint = DefineEndpoint(url="https://desk.example/", receivers=["advisor"])
    await ledger.deliveries.define(OPS, "desk", endpoint)


async def price(ledger: Ledger, equity: str) -> None:
    """Record the prices of today, or correct them."""
    weights = {"EQ": equity, "BD": str(100 - int(equity))}
    await ledger.portfolios.record_prices(OPS, [prices(f"{datetime.now(UTC):%Y-%m-%d}", **weights)])


async def judge(url: str, step: str, _folder: Path) -> None:
    """Judge as of now, or die at a step."""
    await _command(url, step, "run", "--as-of", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")


async def escalate(url: str, step: str, _folder: Path) -> None:
    """Escalate what is due, or die at a step."""
    await _command(url, step, "escalate")


async def value(url: str, step: str, folder: Path) -> None:
    """Record the valuations of a file, or die at a step."""
    await _command(url, step, "valuations", str(folder / VALUATIONS))


async def _command(url: str, step: str, *arguments: str) -> None:
    append, count = Writer.append_lines, 0

    async def appends(writer: Writer, lines: Any) -> Any:
        nonlocal count
        count += 1
        if step == f"before {count}":
            die()
        receipts = await append(writer, lines)
        if step == f"after {count}":
            die()
        return receipts

    with patch.object(Writer, "append_lines", appends):
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--database-url", url])
    assert done.exit_code == 0, done.output
