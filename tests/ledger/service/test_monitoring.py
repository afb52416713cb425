"""Runs of monitoring: what they judge, raise, decide and prove; killed at any step, two at once, and computed again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ledger.errors import InvalidEvent, LedgerError, Refused
from ledger.service.ledger import Ledger
from ledger.store.envelope import Line
from schema.events import (
    AcknowledgeAlert,
    CloseAlert,
    DefinePortfolio,
    PricesRecorded,
    RecordHoldings,
    SilenceAlert,
)
from tests.ledger.service.test_clients import opened
from tests.ledger.service.watching import ANN, OPS, equity, prices, run, text, watch
from tests.support import connect
from tests.tampering import tamper

OF_RUNS = """
    SELECT stream, type, body::json->'data' FROM events
    WHERE type LIKE 'alert.%' OR type LIKE 'notification.%' OR type = 'monitoring.run-completed' ORDER BY position
"""
IDS = "SELECT stream, version, id FROM events WHERE type ~ '^(alert|notification)' ORDER BY stream, version"
ERASE = """
    DELETE FROM sealed_fields s USING events e WHERE e.position = s.position AND e.stream ~ '^(portfolio|holdings)-p1$'
"""
# Lines in which alerts live: day, points above the target, and what is recorded then.
LIFE_A1: list[tuple[str, str | None, list[str]]] = [
    ("2026-03-02", "3.9", []),
    ("2026-03-03", "4.0", []),
    ("2026-03-04", "5.0", ["raised drift", "opened advisor"]),
    ("2026-03-05", "4.9", []),
    ("2026-03-06", "5.1", []),
    ("2026-03-07", "2.6", []),
    ("2026-03-08", "2.5", ["closed inside", "closed advisor"]),
    ("2026-03-09", "4.9", []),
    ("2026-03-10", "5.0", ["raised drift", "cool-down nobody"]),
    ("2026-03-11", "5.2", ["opened advisor"]),
    ("2026-03-12", "5.1", []),
]
LIFE_A2: list[tuple[str, str | None, list[str]]] = [
    ("2026-03-02", "5.2", ["raised drift", "opened advisor"]),
    ("2026-03-03", None, ["raised data", "opened advisor"]),
    ("2026-03-04", None, []),
    ("2026-03-05", "5.1", ["closed inside", "closed advisor"]),
    ("2026-03-06", None, ["raised data", "opened advisor"]),
    ("2026-03-07", "2.0", ["closed inside", "closed inside", "closed advisor", "closed advisor"]),
    ("2026-03-08", "2.1", []),
]


def recorded(url: str, after: int = 0) -> list[tuple[str, str, dict[str, Any]]]:
    """Return stream, type and data of what runs recorded."""
    with connect(url) as conn:
        return list(conn.execute(OF_RUNS))[after:]


def told(url: str, after: int = 0) -> list[str]:
    """Return what was recorded about alerts, in words."""
    words = []
    for _, kind, data in recorded(url, after):
        if kind == "alert.raised":
            words.append(f"raised {data['rule']}")
        elif kind == "alert.closed":
            words.append(f"closed {data['reason']}")
        elif kind == "notification.decided":
            words.append(f"{data['reason']} {' '.join(data['receivers']) or 'nobody'}")
    return words


@pytest.mark.parametrize(("life", "days"), [(LIFE_A1, 3), (LIFE_A2, 0)], ids=["A1", "A2"])
def test_the_lives_of_alerts_and_their_replays(
    database_url: str, life: list[tuple[str, str | None, list[str]]], days: int
) -> None:
    """Each day records exactly what the findings say, and each run computes again to the root that it recorded."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], cool_down_days=days)
            for number, (day, points, expected) in enumerate(life, 1):
                new = prices(day, BD="40") if points is None else equity(day, points)
                await ledger.portfolios.record_prices(OPS, [new])
                before = len(recorded(database_url))
                report = await run(ledger, day)
                assert told(database_url, before) == expected, day
                assert (report.run, report.portfolios, report.historical) == (number, 1, True)
            for number in range(1, len(life) + 1):
                replayed = await ledger.monitoring.replay(number)
                assert replayed.agrees, replayed

    asyncio.run(work())


def test_people_act_on_alerts_and_illegal_acts_are_refused_by_name(database_url: str) -> None:
    """An acknowledged alert is not told of; quiet hours and silences wait for their end; refusals record nothing."""

    async def refused(code: str, act: Awaitable[Any]) -> None:
        before = len(recorded(database_url))
        with pytest.raises((Refused, InvalidEvent)) as error:
            await act
        assert getattr(error.value, "code", getattr(error.value, "field", None)) == code
        assert len(recorded(database_url)) == before

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            quiet = {"start": "18:00", "end": "07:00", "zone": "UTC"}
            await watch(ledger, ["p1", "p2"], quiet_hours=quiet)
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "6")])
            await run(ledger, "2026-03-02", 19)
            assert told(database_url) == ["raised drift", "quiet-hours nobody"] * 2
            [first, second] = [
                position
                for [position] in connect(database_url).execute(
                    "SELECT position FROM events WHERE type = 'alert.raised' ORDER BY position"
                )
            ]
            act = ledger.portfolios.act
            await refused("alert-unknown", act(ANN, 1, AcknowledgeAlert()))
            await act(ANN, first, AcknowledgeAlert(rationale="mine"))
            await refused("alert-acknowledged", act(ANN, first, AcknowledgeAlert()))
            past = SilenceAlert(until="2026-01-01T00:00:00Z", reason="late")
            await refused("until", act(ANN, second, past))
            await run(ledger, "2026-03-02", 23)
            before = len(recorded(database_url))
            await run(ledger, "2026-03-03", 7)
            # The prices of the day before are still the newest ones.
            assert told(database_url, before) == ["acknowledged nobody", "opened advisor"]
            await act(ANN, second, SilenceAlert(until="2099-01-01T00:00:00Z", reason="holiday"))
            await act(ANN, second, CloseAlert(reason="handled", rationale="traded"))
            await refused("alert-closed", act(ANN, second, CloseAlert(reason="client", rationale="again")))
            await refused("alert-closed", act(ANN, second, SilenceAlert(until="2099-01-01T00:00:00Z", reason="x")))
            before = len(recorded(database_url))
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-03", "1")])
            await run(ledger, "2026-03-03", 8)
            # Told of the opening, so of the close: but not before the silence ends.
            assert told(database_url, before) == ["closed inside", "silenced nobody"]
            await refused("run-out-of-order", run(ledger, "2026-03-02"))
            await refused("as_of", run(ledger, "2099-01-01"))
            await refused("run-unknown", ledger.monitoring.replay(99))

    asyncio.run(work())


def test_another_policy_closes_what_it_would_not_raise_and_equal_content_is_no_version(database_url: str) -> None:
    """A wider band closes a drift alert as `policy`; the same policy, targets or holdings again record nothing."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"])
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "5.5")])
            await run(ledger, "2026-03-02")
            _, changed = await ledger.portfolios.adopt_policy(OPS, "drift", text())
            assert not changed
            await watch_again(ledger)
            wide = text(version="2", band={"absolute": "0.10"})
            assert (await ledger.portfolios.adopt_policy(OPS, "drift", wide))[1]
            before = len(recorded(database_url))
            await run(ledger, "2026-03-02", 20)
            assert told(database_url, before) == ["closed policy", "closed advisor"]
            assert (await ledger.monitoring.replay(1)).agrees  # judged by the policy of then

    async def watch_again(ledger: Ledger) -> None:
        holdings = RecordHoldings(as_of="2026-03-01", positions={"EQ": "1", "BD": "1"})
        assert not (await ledger.portfolios.record_holdings(ANN, "p1", holdings))[1]

    asyncio.run(work())


def test_bad_input_is_refused_by_name_and_nothing_is_recorded(database_url: str) -> None:
    """Weights, days, unknown names: each names the field or the fault."""
    good = {"client_id": "client of p1", "base": "USD", "targets": {"EQ": "0.6", "BD": "0.4"}, "policy": "drift"}

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"])
            before = connect(database_url).execute("SELECT position FROM head").fetchall()

            async def define(**changed: object) -> object:
                body = DefinePortfolio.model_validate({**good, "source": "house", **changed})
                return await ledger.portfolios.define(ANN, "p2", body)

            faults: list[tuple[str, Callable[[], Awaitable[object]]]] = [
                ("targets", lambda: define(targets={"EQ": "0.6", "BD": "0.3"})),
                ("targets", lambda: define(rest="BD")),
                ("source", lambda: define(recommendation_id=1)),
                ("client-unknown", lambda: define(client_id="nobody")),
                ("policy-unknown", lambda: define(policy="none")),
                ("recommendation-unknown", lambda: define(source=None, recommendation_id=1)),
                ("portfolio-unknown", lambda: hold("p9", "2026-03-01")),
                ("as_of", lambda: hold("p1", "2099-01-01")),
                ("holdings-out-of-order", lambda: hold("p1", "2026-02-01")),
                ("date", lambda: ledger.portfolios.record_prices(OPS, [equity("2099-01-01", "1")])),
                ("assessed_on", lambda: define(assessed_on="2099-01-01")),
                ("name", lambda: ledger.portfolios.adopt_policy(OPS, "other", text())),
            ]

            async def hold(name: str, day: str) -> object:
                return await ledger.portfolios.record_holdings(ANN, name, RecordHoldings(as_of=day, positions={}))

            for expected, command in faults:
                with pytest.raises(LedgerError) as error:
                    await command()
                assert getattr(error.value, "code", getattr(error.value, "field", None)) == expected
            assert connect(database_url).execute("SELECT position FROM head").fetchall() == before

    asyncio.run(work())


class Killed(Exception):
    """The process is gone."""


def test_a_run_that_is_killed_at_any_append_is_finished_as_if_it_was_not(database_url: str) -> None:
    """After each append of a run the process dies; another one finishes it, with the same events under the same ids."""

    async def work() -> None:
        async with opened(database_url, count=2) as [ledger, other]:
            await watch(ledger, [f"p{number}" for number in range(5)])
            days = [("2026-03-02", "6"), ("2026-03-03", "1"), ("2026-03-04", "6"), ("2026-03-05", "1")]
            for died, (day, points) in enumerate(days):
                await ledger.portfolios.record_prices(OPS, [equity(day, points)])
                append, left = ledger.writer.append_lines, [died]

                async def dying(lines: list[Line], append: Any = append, left: list[int] = left) -> Any:
                    if not left[0]:
                        raise Killed
                    left[0] -= 1
                    return await append(lines)

                ledger.writer.append_lines = dying  # type: ignore[method-assign]
                before = len(recorded(database_url))
                if died == 3:  # started, changed and completed: nobody was there to hear it
                    await run(ledger, day)
                else:
                    with pytest.raises(Killed):
                        await run(ledger, day)
                del ledger.writer.append_lines
                if died == 0:
                    assert len(recorded(database_url)) == before  # as if it had never begun
                # Two processes at once: each finishes the run, or starts it; it is recorded once.
                reports = await asyncio.gather(run(ledger, day), run(other, day))
                # Whichever was second finished the same run, or made the next one.
                assert reports[0].run != reports[1].run or reports[0].root == reports[1].root
                found = [kind for _, kind, data in recorded(database_url, before) if kind != "monitoring.run-completed"]
                assert sorted(found) == sorted(
                    ["alert.raised" if points == "6" else "alert.closed"] * 5 + ["notification.decided"] * 5
                ), day
            numbers = [
                data["portfolios"] for _, kind, data in recorded(database_url) if kind == "monitoring.run-completed"
            ]
            for number in range(1, len(numbers) + 1):
                assert (await ledger.monitoring.replay(number)).agrees

    asyncio.run(work())


@pytest.mark.tampers
def test_a_replay_judges_what_was_recorded_then_and_takes_erased_leaves_as_given(database_url: str) -> None:
    """Later prices, holdings and definitions do not change a replay; a leaf without its salt is taken as recorded."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1", "p2"], single_limit="0.64", turnover="0.055")
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "5.5")])
            report = await run(ledger, "2026-03-02")
            found = told(database_url)
            assert found == ["raised drift", "raised turnover", "raised limit", *["opened advisor"] * 3] * 2
            assert (report.raised, report.decisions) == (6, 6)
            await ledger.portfolios.record_prices(OPS, [equity("2026-03-02", "1")])
            held = RecordHoldings(as_of="2026-03-02", positions={"EQ": "1"})
            await ledger.portfolios.record_holdings(ANN, "p1", held)
            assert (await ledger.monitoring.replay(1)).agrees
            would = await ledger.monitoring.would_be(1)
            # One EQ alone is all of p1; p2 is back inside by the corrected price.
            assert (would.conditions["breached"], would.would_be["breached"]) == (2, 1)
            assert (would.different, would.position < would.upto) == (["p1", "p2"], True)
            tamper(database_url, ERASE)
            replayed = await ledger.monitoring.replay(1)
            assert (replayed.agrees, replayed.given, replayed.different) == (True, ["p1"], [])
            assert (await run(ledger, "2026-03-03")).conditions["unknown"] == 1
            assert (await ledger.monitoring.replay(2)).agrees

    asyncio.run(work())


def test_prices_that_jump_are_doubtful_until_somebody_accepts_them(database_url: str) -> None:
    """A price beyond the factor makes its portfolios unknown, also on later days, until it is accepted."""

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            await watch(ledger, ["p1"], doubtful_factor="2")
            outcomes = []
            for day, price, accepted in (
                ("2026-03-02", "150", None),
                ("2026-03-03", "75", None),
                ("2026-03-04", "75", None),
                ("2026-03-05", "75", True),
                ("2026-03-06", "76", None),
            ):
                found = {"EQ": {"price": price, "currency": "USD", "accepted": accepted}}
                found["BD"] = {"price": "100", "currency": "USD", "accepted": None}
                event = {"source": "ny", "date": day, "file_sha256": "0" * 64, "prices": found}
                await ledger.portfolios.record_prices(OPS, [PricesRecorded.model_validate(event)])
                conditions = (await run(ledger, day)).conditions
                outcomes.append(next(name for name, count in conditions.items() if count))
            assert outcomes == ["ok", "unknown", "unknown", "breached", "breached"]
            causes = [data["cause"] for _, kind, data in recorded(database_url) if data.get("rule") == "data"]
            assert causes == ["doubtful-price"]

    asyncio.run(work())
