"""advice-ledger monitor: a replay says whether a run is what was recorded."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from api.cli.monitor import app
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import OPS, equity, run, watch
from tests.support import connect
from tests.tampering import tamper

ACCESSES = (
    "SELECT body::json->'data'->>'resource', body::json->'data'->'clients' FROM events WHERE type = 'access.recorded'"
)
FORGE = "UPDATE events SET body = replace(body, '\"66\"', '\"67\"') WHERE type = 'prices.recorded'"


@pytest.mark.tampers
def test_the_command_replays_a_run_and_says_if_it_differs(database_url: str) -> None:
    """Exit code 0 if the judgements agree, and 1 if what they were made of was changed."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"])
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "6")])
            await run(ledger, "2026-03-02")

    def replayed() -> tuple[int, str]:
        done = CliRunner().invoke(app, ["replay", "--run", "1", "--database-url", database_url])
        return done.exit_code, done.stdout.splitlines()[-1]

    asyncio.run(work())
    assert replayed() == (0, "agrees: the same judgements, bit for bit")
    tamper(database_url, FORGE)
    assert connect(database_url).execute(ACCESSES).fetchall() == []  # no portfolio was named
    assert replayed() == (1, "differs from what was recorded")
    done = CliRunner().invoke(app, ["would-be", "--run", "1", "--json", "--database-url", database_url])
    assert json.loads(done.stdout)["different"] == []
    assert connect(database_url).execute(ACCESSES).fetchall() == [("advice-ledger monitor replay", [1])]
