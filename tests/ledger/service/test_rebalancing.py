"""Requests for advice about portfolios: by hand and for alerts; one is open at a time; a run that is killed goes on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.errors import InvalidEvent, NotFound, Refused
from ledger.service.ledger import Ledger
from ledger.store.envelope import Line, NewEvent, uuid7
from schema.events import (
    AcknowledgeAlert,
    CloseAlert,
    DefinePortfolio,
    RequestFailed,
    RequestRebalancing,
)
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, equity, text, watch
from tests.support import connect

DECIDED = """
    SELECT stream, body::json->'data', body::json->>'correlation' FROM events
    WHERE type = 'rebalancing.decided' ORDER BY position
"""
REQUESTS = """
    SELECT e.stream, e.body::json->'data', s.fields->>'notes', e.body::json->>'correlation'
    FROM events e JOIN sealed_fields s USING (position) WHERE e.type = 'portfolio.requested' ORDER BY position
"""
RAISED = "SELECT position FROM events WHERE type = 'alert.raised'"
ADVICE = {"request_advice": ["drift"], "stale_after_days": 365}


def now(ledger: Ledger) -> datetime:
    """Return the present second: a run of it is not historical."""
    return ledger.monitoring.executor.authority.clock().astimezone(UTC).replace(microsecond=0)


async def judge(ledger: Ledger, points: str) -> Any:
    """Record prices of today at which EQ is so far above its target, and judge as of now."""
    at = now(ledger)
    await ledger.portfolios.record_prices(OPS, [equity(at.date().isoformat(), points)])
    return (await ledger.monitoring.run(OPS, at))[1]


async def profiled(ledger: Ledger, *names: str) -> None:
    """Give the portfolios a risk profile."""
    for name in names:
        body = {"client_id": f"client of {name}", "base": "USD", "targets": {"EQ": "0.6"}, "rest": "BD"}
        more = {"policy": "drift", "source": "house", "risk_profile": "balanced"}
        await ledger.portfolios.define(ANN, name, DefinePortfolio.model_validate({**body, **more}))


def decided(url: str) -> list[tuple[str, str, int | None, str | None]]:
    """Return portfolio, outcome, the request joined, and the cause of each decision about advice."""
    with connect(url) as conn:
        return [
            (stream.removeprefix("portfolio-"), data["outcome"], data.get("request"), data.get("cause"))
            for stream, data, _ in conn.execute(DECIDED)
        ]


def requests(url: str) -> list[tuple[str, dict[str, Any], str, str]]:
    """Return the requests: stream, members, notes and correlation."""
    with connect(url) as conn:
        return list(conn.execute(REQUESTS))


def test_a_person_opens_one_request_and_joins_it_until_it_is_over(database_url: str) -> None:
    """The agent is told the drift; another reason joins; once the request failed, another one is opened."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], stale_after_days=365)
            ask = ledger.rebalancing.request
            with pytest.raises(NotFound):
                await ask(ANN, "p9", RequestRebalancing())
            with pytest.raises(InvalidEvent, match="risk_profile"):
                await ask(ANN, "p1", RequestRebalancing(amount_usd=Decimal("5.00")))
            await profiled(ledger, "p1")
            with pytest.raises(InvalidEvent, match="amount_usd"):
                await ask(ANN, "p1", RequestRebalancing())
            await judge(ledger, "6")
            [[alert]] = connect(database_url).execute(RAISED).fetchall()
            await ledger.portfolios.act(ANN, alert, AcknowledgeAlert())
            first = await ask(ANN, "p1", RequestRebalancing(alert=alert, reason="sell some"))
            assert (first.request_id, first.joined) == (1, False)
            [(stream, data, notes, correlation)] = requests(database_url)
            assert (stream, data["amount_usd"], data["portfolio"], data["risk_profile"]) == (
                "request-1",
                "100.00",
                "p1",
                "balanced",
            )
            assert "EQ: weight 0.660000000000, target 0.6, drift 0.060000000000" in notes
            assert str(first.receipt.id) == correlation
            again = await ask(ANN, "p1", RequestRebalancing(), None)
            assert (again.request_id, again.joined) == (1, True)
            for gone in (alert + 1, alert - 1):
                with pytest.raises(NotFound):
                    await ask(ANN, "p1", RequestRebalancing(alert=gone))
            await ledger.writer.append([NewEvent(uuid7(), "request-1", RequestFailed(reason="no-model"), OPS)])
            another = await ask(ANN, "p1", RequestRebalancing(amount_usd=Decimal("7.50")))
            assert (another.request_id, another.joined) == (2, False)
            assert requests(database_url)[1][1]["amount_usd"] == "7.50"
            await ledger.portfolios.act(ANN, alert, CloseAlert(reason="handled", rationale="sold"))
            with pytest.raises(Refused):
                await ask(ANN, "p1", RequestRebalancing(alert=alert))
            assert [row[1:] for row in decided(database_url)] == [
                ("opened", None, None),
                ("joined", 1, None),
                ("opened", None, None),
            ]

    asyncio.run(work())


def test_alerts_open_requests_up_to_a_cap_and_the_rest_follows(database_url: str) -> None:
    """Without a risk profile, or beyond the cap, it is recorded once why not; the next run goes on with the rest."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            names = ["p1", "p2", "p3", "p4"]
            await watch(ledger, names, requests_per_run=2, **ADVICE)
            await profiled(ledger, "p2", "p3", "p4")
            await judge(ledger, "6")
            assert decided(database_url) == [
                ("p1", "withheld", None, "no-risk-profile"),
                ("p2", "opened", None, None),
                ("p3", "opened", None, None),
                ("p4", "withheld", None, "requests-per-run"),
            ]
            await judge(ledger, "6")
            assert decided(database_url)[4:] == [("p4", "opened", None, None)]
            await profiled(ledger, "p1")
            await judge(ledger, "6")
            assert decided(database_url)[5:] == [("p1", "opened", None, None)]
            assert [data["portfolio"] for _, data, _, _ in requests(database_url)] == ["p2", "p3", "p4", "p1"]

    asyncio.run(work())


def test_small_drifts_and_historical_runs_open_none(database_url: str) -> None:
    """A trade below the policy's minimum asks for no advice; a run of a day that is over opens no request."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], minimum_trade="6.1", **ADVICE)
            await profiled(ledger, "p1")
            yesterday = now(ledger) - timedelta(days=2)
            await ledger.portfolios.record_prices(OPS, [equity(yesterday.date().isoformat(), "6")])
            await ledger.monitoring.run(OPS, yesterday)
            assert decided(database_url) == []
            await judge(ledger, "6")
            assert decided(database_url) == [("p1", "withheld", None, "minimum-trade")]
            await ledger.portfolios.adopt_policy(OPS, "drift", text(version="2", minimum_trade="6", **ADVICE))
            await judge(ledger, "6")
            assert decided(database_url)[1:] == [("p1", "opened", None, None)]

    asyncio.run(work())


class Killed(Exception):
    """The process is gone."""


def test_a_run_that_is_killed_between_requests_opens_no_more_than_its_cap(database_url: str) -> None:
    """At each append of the run the process dies; in the end each portfolio has one request, within the cap."""

    async def work() -> None:
        async with opened(database_url, count=2) as [ledger, other]:
            names = ["p1", "p2", "p3"]
            await watch(ledger, names, requests_per_run=2, **ADVICE)
            await profiled(ledger, *names)
            at = now(ledger)
            await ledger.portfolios.record_prices(OPS, [equity(at.date().isoformat(), "6")])
            append = ledger.writer.append_lines
            for _ in range(6):
                left = [1]

                async def dying(lines: list[Line], left: list[int] = left) -> Any:
                    if not left[0]:
                        raise Killed
                    left[0] -= 1
                    return await append(lines)

                ledger.writer.append_lines = dying  # type: ignore[method-assign]
                with pytest.raises(Killed):
                    await ledger.monitoring.run(OPS, at)
            del ledger.writer.append_lines
            await asyncio.gather(ledger.monitoring.run(OPS, at), other.monitoring.run(OPS, at), return_exceptions=True)
            # The cap is that of the first run; the one after it goes on with the rest.
            assert decided(database_url) == [
                ("p1", "opened", None, None),
                ("p2", "opened", None, None),
                ("p3", "withheld", None, "requests-per-run"),
                ("p3", "opened", None, None),
            ]
            assert [data["portfolio"] for _, data, _, _ in requests(database_url)] == names

    asyncio.run(work())
