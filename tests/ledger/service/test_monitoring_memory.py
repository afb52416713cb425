"""What a process remembers between runs changes no judgement: a process that remembers nothing finds the same."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from ledger.service.ledger import Ledger
from ledger.service.monitoring.corporate_actions import ActionLine
from schema.events import RecordAction, RecordHoldings
from tests.ledger.service.test_clients import opened
from tests.ledger.service.test_monitoring_inputs import valuation
from tests.ledger.service.watching import ANN, OPS, prices, run, text, watch
from tests.tampering import tamper

DAYS = [f"2026-03-{day:02}" for day in range(2, 20)]
ERASE = """
    DELETE FROM sealed_fields s USING events e
    WHERE e.position = s.position AND e.stream ~ '^(portfolio|holdings|valuation|flows)-p1$'
"""


class Scene:
    """Records something before a run, as the dice fall: corrections of any day, actions, holdings, policies."""

    def __init__(self, ledger: Ledger, url: str, seed: int) -> None:
        self.ledger, self.url, self.dice = ledger, url, random.Random(seed)
        self.erased = False

    async def happen(self, day: str) -> None:
        """Let some of it happen on a day."""
        dice = self.dice
        await self.ledger.portfolios.record_prices(OPS, [prices(day, BD="40")])
        acts: list[Any] = [self.correct, self.act, self.hold, self.value, self.adopt, self.define]
        for act in [self.correct, *dice.sample(acts, 2)]:
            await act(day)
        if not self.erased and dice.random() < 0.15:
            tamper(self.url, ERASE)
            self.erased = True

    async def correct(self, day: str) -> None:
        """Record a price of the day, or correct that of a day before, which may be the newest that there is."""
        before = self.dice.choice([one for one in DAYS if one <= day][-3:])
        await self.ledger.portfolios.record_prices(OPS, [prices(before, EQ=str(self.dice.randint(40, 80)))])

    async def act(self, _day: str) -> None:
        """Record a split, a new identifier or its withdrawal, of any day."""
        body: dict[str, Any] = {"asset": "EQ", "date": self.dice.choice(DAYS), "action": "split", "ratio": "2:1"}
        if self.dice.random() < 0.5:
            body = {"asset": "EQ", "date": DAYS[8], "action": "renamed", "to": "NEW"}
        if self.dice.random() < 0.4:
            body["withdrawn"] = True
        await self.ledger.corporate_actions.record(OPS, [ActionLine(1, RecordAction.model_validate(body))])

    async def hold(self, day: str) -> None:
        """Record other holdings, with the former identifier."""
        body = RecordHoldings(as_of=day, positions={"EQ": str(self.dice.randint(1, 3)), "BD": "1"})
        await self.ledger.portfolios.record_holdings(ANN, "p2", body)

    async def value(self, day: str) -> None:
        """Record a valuation of a portfolio that has holdings too."""
        await self.ledger.valuations.record(ANN, [valuation("p3", day, EQ=str(self.dice.randint(50, 70)), BD="40")])

    async def adopt(self, _day: str) -> None:
        """Put another version of the policy in force, perhaps one that looks back further."""
        stale, band = self.dice.randint(1, 4), self.dice.choice(["0.05", "0.1"])
        await self.ledger.portfolios.adopt_policy(OPS, "drift", text(band={"absolute": band}, stale_after_days=stale))

    async def define(self, day: str) -> None:
        """Watch one portfolio more."""
        await watch(self.ledger, [f"q{day[-2:]}"])


@pytest.mark.tampers
@pytest.mark.parametrize(
    "seed", [1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_each_run_of_a_process_is_what_another_process_finds(database_url: str, seed: int) -> None:
    """Runs alternate between two processes, while replays of earlier ones are made; then all are replayed again."""

    async def work() -> None:
        async with opened(database_url, count=3) as [ledger, other, fresh]:
            await watch(ledger, ["p1", "p2", "p3"], stale_after_days=3)
            scene = Scene(ledger, database_url, seed)
            conditions = set[str]()
            for number, day in enumerate(DAYS, 1):
                await scene.happen(day)
                judging = scene.dice.choice([ledger, ledger, other])
                judged = asyncio.create_task(run(judging, day))
                if number > 1:
                    assert (await judging.monitoring.replay(scene.dice.randint(1, number - 1))).agrees
                report = await judged
                conditions |= {name for name, count in report.conditions.items() if count}
                again = await fresh.monitoring.replay(number)
                assert (again.computed_root, again.different) == (report.root, []), (seed, day)
                # A replay takes the leaf of an erased portfolio as given; the counts have it as it is judged.
                assert (await fresh.monitoring.would_be(number)).conditions == report.conditions, (seed, day)
            assert len(conditions) > 1
            for number in range(1, len(DAYS) + 1):
                assert (await fresh.monitoring.replay(number)).agrees

    asyncio.run(work())
