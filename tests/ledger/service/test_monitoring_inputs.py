"""Flows, valuations of a custodian and approved advice in runs: what they raise, and that replays and erasures hold."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from ledger.errors import InvalidLines
from ledger.service.ledger import Ledger
from ledger.service.monitoring import facts, streams
from ledger.service.monitoring.bulk_holdings import ValuationLine
from ledger.service.monitoring.flows import FlowLine
from ledger.store.envelope import NewEvent, uuid7
from schema.events import (
    ClientRegistered,
    DefinePortfolio,
    PortfolioRequested,
    RecommendationDecided,
    RecommendationRecorded,
    RecordFlow,
    RecordValuation,
)
from tests.ledger.service.test_clients import opened
from tests.ledger.service.test_monitoring import recorded, told
from tests.ledger.service.watching import ANN, OPS, equity, run, text, watch
from tests.support import connect
from tests.tampering import tamper

ERASE = """
    DELETE FROM sealed_fields s USING events e
    WHERE e.position = s.position AND e.stream ~ '^(portfolio|holdings|valuation|flows)-p1$'
"""


def valuation(name: str, day: str, line: int = 1, source: str = "bank", **values: str) -> ValuationLine:
    """Return a valuation in dollars."""
    body = {"as_of": day, "source": source, "currency": "USD", "values": values}
    return ValuationLine(line, name, RecordValuation.model_validate(body))


def flow(name: str, day: str, amount: str, kind: str = "cash-in", reference: str = "1", line: int = 1) -> FlowLine:
    """Return a flow in dollars."""
    body = {"reference": reference, "date": day, "kind": kind, "amount": amount, "currency": "USD"}
    return FlowLine(line, name, RecordFlow.model_validate(body))


async def outcome(ledger: Ledger, day: str) -> str:
    """Judge one portfolio as of a day, and return its condition."""
    conditions = (await run(ledger, day)).conditions
    return next(name for name, count in conditions.items() if count)


@pytest.mark.tampers
def test_a_portfolio_that_its_custodian_values_needs_no_prices(database_url: str) -> None:
    """Its age counts days on which the source sent others; missing is unknown; later holdings need prices again."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"])
            record = ledger.valuations.record
            assert len(await record(ANN, [valuation("p1", "2026-03-02", EQ="60", BD="40")])) == 1
            assert await outcome(ledger, "2026-03-02") == "ok"
            assert await outcome(ledger, "2026-03-08") == "ok"  # its source has sent nothing since
            await watch(ledger, ["p2"])
            await record(ANN, [valuation("p2", "2026-03-09", source="other", EQ="66", BD="34")])
            assert (await run(ledger, "2026-03-09")).conditions == {"ok": 1, "watch": 0, "breached": 1, "unknown": 0}
            await record(ANN, [valuation("p2", "2026-03-10", EQ="60", BD="40")])
            assert (await run(ledger, "2026-03-10")).conditions == {"ok": 1, "watch": 0, "breached": 0, "unknown": 1}
            drift = [data for data in told(database_url) if data == "raised data"]
            assert drift == ["raised data"]
            tamper(database_url, ERASE)
            for number in range(1, 5):
                replayed = await ledger.monitoring.replay(number)
                assert (replayed.agrees, replayed.given) == (True, ["p1"]), number
            assert (await run(ledger, "2026-03-11")).conditions["unknown"] == 1
            assert (await ledger.monitoring.replay(5)).agrees

    asyncio.run(work())


def test_the_same_valuations_again_record_nothing_and_a_fault_names_its_line(database_url: str) -> None:
    """A correction of the same day counts; an earlier day, an unknown portfolio and the future are refused whole."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1", "p2"])
            record = ledger.valuations.record
            batch = [valuation("p1", "2026-03-02", EQ="60", BD="40"), valuation("p2", "2026-03-02", 2, EQ="1")]
            assert [len(await record(ANN, batch)) for _ in range(2)] == [2, 0]
            assert await ledger.valuations.record(ANN, [valuation("p2", "2026-03-02", EQ="3", BD="2")])
            assert (await run(ledger, "2026-03-02")).conditions["ok"] == 2
            before = connect(database_url).execute("SELECT position FROM head").fetchall()
            for wrong, field in (
                (valuation("p1", "2026-03-01", EQ="1"), "as_of"),
                (valuation("p9", "2026-03-03", EQ="1"), "portfolio"),
                (valuation("p1", "2099-01-01", EQ="1"), "as_of"),
            ):
                with pytest.raises(InvalidLines) as refused:
                    await record(ANN, [valuation("p2", "2026-03-03", 7, EQ="1"), wrong])
                assert [name for name, _ in refused.value.errors] == [f"line 1: {field}"]
            assert connect(database_url).execute("SELECT position FROM head").fetchall() == before

    asyncio.run(work())


@pytest.mark.tampers
def test_flows_and_losses_raise_alerts_and_wait_for_a_person(database_url: str) -> None:
    """A deposit of a fifth is a reason to look; a loss of a tenth is told once, and survives an erasure."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], flow="0.2", flow_days=2, depreciation_notices=True, doubtful_factor="9")
            await ledger.flows.record(ANN, [flow("p1", "2026-03-01", "100", "period-start", "start")])
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "0")])
            await run(ledger, "2026-03-02")
            assert told(database_url) == []
            assert len(await ledger.flows.record(ANN, [flow("p1", "2026-03-03", "20")])) == 1
            assert await ledger.flows.record(ANN, [flow("p1", "2026-03-03", "20.0")]) == []
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-03", "0")])
            await run(ledger, "2026-03-03")
            assert told(database_url) == ["raised flow", "opened advisor"]
            await run(ledger, "2026-03-04", 1)
            await run(ledger, "2026-03-05", 1)
            assert told(database_url)[2:] == ["closed inside", "closed advisor"]
            fallen = equity("2026-03-05", "0").model_dump()
            fallen["prices"] = {"EQ": {"price": "54", "currency": "USD"}, "BD": {"price": "36", "currency": "USD"}}
            await ledger.portfolios.record_prices(OPS, [type(equity("2026-03-05", "0")).model_validate(fallen)])
            await run(ledger, "2026-03-05")
            await run(ledger, "2026-03-05", 19)
            assert told(database_url)[4:] == ["raised depreciation", "opened advisor"]
            tamper(database_url, ERASE)
            for number in range(1, 7):
                assert (await ledger.monitoring.replay(number)).agrees
            await run(ledger, "2026-03-05", 20)
            assert told(database_url)[6:] == ["raised data", "opened advisor"]

    asyncio.run(work())


def test_more_flows_than_a_run_reads_are_unknown_by_name(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert about data names it, and is closed when what was not read is too old to count."""
    monkeypatch.setattr(streams, "MOST_FLOWS", 2)
    monkeypatch.setattr(facts, "MOST_FLOWS", 2)
    today = datetime.now(UTC)

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], flow="0.2", flow_days=2, stale_after_days=30)
            day = f"{today:%Y-%m-%d}"
            await ledger.portfolios.record_prices(OPS, [equity(day, "0")])
            small = [flow("p1", day, "1", reference=str(number), line=number) for number in range(1, 3)]
            await ledger.flows.record(ANN, [flow("p1", day, "90", reference="large", line=9)])
            await ledger.flows.record(ANN, small)
            report = (await ledger.monitoring.run(OPS, today.replace(microsecond=0)))[1]
            assert report.conditions["ok"] == 1  # drift needs no flows
            assert told(database_url) == ["raised data", "opened advisor"]
            causes = [data.get("cause") for _, kind, data in recorded(database_url) if kind == "alert.raised"]
            assert causes == ["too-many-flows"]
            monkeypatch.setattr(streams, "MOST_FLOWS", 3)
            monkeypatch.setattr(facts, "MOST_FLOWS", 3)
            await ledger.monitoring.run(OPS, datetime.now(UTC))
            assert told(database_url)[2:] == ["closed inside", "raised flow", "closed advisor", "opened advisor"]

    asyncio.run(work())


def test_flows_are_refused_by_line_and_field(database_url: str) -> None:
    """An unknown portfolio, the future, a reference twice, another day of a known flow: nothing is recorded."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"])
            await ledger.flows.record(ANN, [flow("p1", "2026-03-03", "20")])
            before = connect(database_url).execute("SELECT position FROM head").fetchall()
            batches: list[tuple[list[FlowLine], str]] = [
                ([flow("p9", "2026-03-03", "1")], "line 1: portfolio"),
                ([flow("p1", "2099-03-03", "1", reference="2")], "line 1: date"),
                ([flow("p1", "2026-03-04", "20")], "line 1: date"),
                ([flow("p1", "2026-03-03", "1", reference="2"), flow("p1", "2026-03-03", "2", reference="2", line=2)],
                 "line 2: reference"),
            ]  # fmt: skip
            for lines, field in batches:
                with pytest.raises(InvalidLines) as refused:
                    await ledger.flows.record(ANN, lines)
                assert [name for name, _ in refused.value.errors] == [field]
            assert connect(database_url).execute("SELECT position FROM head").fetchall() == before

    asyncio.run(work())


def test_how_far_back_a_valuation_counts_is_said_by_the_policy_of_its_portfolio(database_url: str) -> None:
    """One that looks back further, for another portfolio, changes nothing: older than 31 days is none."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"])
            await ledger.valuations.record(ANN, [valuation("p1", "2026-03-02", EQ="60", BD="40")])
            assert await outcome(ledger, "2026-04-02") == "ok"
            assert await outcome(ledger, "2026-04-03") == "unknown"
            patient = text(stale_after_days=30).model_copy(update={"name": "patient"})
            await ledger.portfolios.adopt_policy(OPS, "patient", patient)
            await ledger.clients.register(ANN, ClientRegistered(client_id="another"))
            body = {"client_id": "another", "base": "USD", "targets": {"EQ": "1"}, "policy": "patient", "source": "-"}
            await ledger.portfolios.define(ANN, "p2", DefinePortfolio.model_validate(body))
            assert (await run(ledger, "2026-04-04")).conditions["unknown"] == 2

    asyncio.run(work())


def test_a_target_is_superseded_by_a_later_approval_until_it_is_set_again(database_url: str) -> None:
    """An approval for the client raises one alert; a definition after it closes it; a rejection raises none."""

    async def decided(ledger: Ledger, number: int, outcome: Literal["approve", "reject"]) -> None:
        stream = f"request-{number}"
        owner: dict[str, Any] = {"client_id": "client of p1", "client": 1}
        asked = PortfolioRequested.model_validate({**owner, "risk_profile": "balanced", "amount_usd": "100"})
        [first] = await ledger.writer.append([NewEvent(uuid7(), "request-", asked, ANN, "no_stream")])
        answer = RecommendationRecorded.model_validate({"recommendation": {"EQ": "1"}, "model_name": "m"})
        [advised] = await ledger.writer.append([NewEvent(uuid7(), first.stream, answer, OPS)])
        assert first.stream == stream
        event = RecommendationDecided(
            recommendation_id=advised.position,
            digest="0" * 64,
            outcome=outcome,
            needs_second=False,
            second_rules=[],
            four_eyes_version="1",
        )
        await ledger.writer.append([NewEvent(uuid7(), stream, event, ANN)])

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], target_superseded=True, stale_after_days=9)
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "0")])
            await decided(ledger, 1, "reject")
            await run(ledger, "2026-03-02")
            assert told(database_url) == []
            await decided(ledger, 2, "approve")
            await run(ledger, "2026-03-03")
            await run(ledger, "2026-03-04")
            assert told(database_url) == ["raised superseded", "opened advisor"]
            body = {"client_id": "client of p1", "base": "USD", "targets": {"EQ": "0.6", "BD": "0.4"}}
            again = DefinePortfolio.model_validate({**body, "policy": "drift", "source": "house"})
            await ledger.portfolios.define(ANN, "p1", again)
            await run(ledger, "2026-03-05")
            assert told(database_url)[2:] == ["closed inside", "closed advisor"]
            # An approval that was seen by runs whose policy did not look at it.
            await ledger.portfolios.adopt_policy(OPS, "drift", text(stale_after_days=9))
            await decided(ledger, 3, "approve")
            await run(ledger, "2026-03-06")
            await ledger.portfolios.adopt_policy(OPS, "drift", text(stale_after_days=9, target_superseded=True))
            await run(ledger, "2026-03-07")
            assert told(database_url)[4:] == ["raised superseded", "opened advisor"]

    asyncio.run(work())
