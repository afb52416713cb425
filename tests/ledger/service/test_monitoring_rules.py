"""Runs look at each rule of a policy: limits of issuers, restricted assets, reviews, and how often people are told."""

from __future__ import annotations

import asyncio

from tests.ledger.service.test_clients import opened
from tests.ledger.service.test_monitoring import told
from tests.ledger.service.watching import OPS, equity, prices, run, text, watch

LIMITS = {"single": "0.62", "counted_above": "0.05", "together": "0.90"}
MONTHLY = {"anchor": "2026-01-31", "every": "month", "at": "08:00", "zone": "Europe/Zurich"}


def test_limits_of_issuers_and_restricted_assets_raise_and_close_alerts(database_url: str) -> None:
    """At a limit is within it; a position without value is not held; another policy closes what it does not have."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            rules = {
                "issuer_limits": {**LIMITS, "together": "0.999999999999"},
                "issuers": {"EQ": "bank"},
                "restricted": ["BD"],
            }
            await watch(ledger, ["p1"], band={"absolute": "0.5"}, **rules)
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "2")])
            await run(ledger, "2026-03-02")
            assert told(database_url) == ["raised issuers", "raised restricted", "opened advisor", "opened advisor"]
            before = len(told(database_url))
            await ledger.portfolios.record_prices(OPS, [prices("2026-03-03", EQ="62.000000000001", BD="38")])
            await run(ledger, "2026-03-03")
            assert told(database_url)[before:] == ["raised issuer", "opened advisor"]
            before = len(told(database_url))
            text_2 = text(version="2", band={"absolute": "0.5"}, issuer_limits=LIMITS)
            await ledger.portfolios.adopt_policy(OPS, "drift", text_2)
            await ledger.portfolios.record_prices(OPS, [prices("2026-03-04", EQ="62", BD="38")])
            await run(ledger, "2026-03-04")
            closed = ["closed policy", "closed policy", *["closed advisor"] * 2]
            assert sorted(told(database_url)[before:]) == sorted(closed)
            assert (await ledger.monitoring.replay(1)).agrees

    asyncio.run(work())


def test_a_review_is_due_once_at_each_date_and_waits_for_a_person(database_url: str) -> None:
    """The end of March, then of April; runs on days without a date, or two on one day, raise nothing more."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], review=MONTHLY, stale_after_days=365)
            raised = []
            for day, hour in [
                ("2026-03-02", 18),
                ("2026-03-30", 18),
                ("2026-03-31", 5),
                ("2026-03-31", 6),
                ("2026-03-31", 18),
                ("2026-04-29", 18),
                ("2026-05-01", 18),
            ]:
                await ledger.portfolios.record_prices(OPS, [equity(day, "1")])
                before = len(told(database_url))
                await run(ledger, day, hour)
                raised.append(told(database_url)[before:])
            # 08:00 in Zurich is 06:00 in UTC. The alert of March is still open on 30 April: it is the same one.
            assert raised == [[], [], [], ["raised review", "opened advisor"], [], [], []]
            without = text(version="2", stale_after_days=365)
            await ledger.portfolios.adopt_policy(OPS, "drift", without)
            before = len(told(database_url))
            await run(ledger, "2026-05-01", 19)
            assert told(database_url)[before:] == ["closed policy", "closed advisor"]

    asyncio.run(work())


def test_people_are_told_of_openings_at_most_every_few_days(database_url: str) -> None:
    """A second alert of a portfolio waits until the days are over, and is told once then."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], decide_every_days=3, turnover="0.08")
            found = []
            for day, points in [("02", "6"), ("03", "8"), ("04", "8"), ("05", "8"), ("06", "8")]:
                await ledger.portfolios.record_prices(OPS, [equity(f"2026-03-{day}", points)])
                before = len(told(database_url))
                await run(ledger, f"2026-03-{day}")
                found.append(told(database_url)[before:])
            assert found == [
                ["raised drift", "opened advisor"],
                ["raised turnover", "told-lately nobody"],
                [],
                ["opened advisor"],
                [],
            ]

    asyncio.run(work())
