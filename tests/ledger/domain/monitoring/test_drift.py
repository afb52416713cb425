"""Drift is judged exactly: at an edge, beside it, and as a twin with fractions judges it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.monitoring.arithmetic import WHOLE, parts, shipped
from ledger.domain.monitoring.drift import EdgesOf, Plan, is_worth_trading, issuers, judge, targets
from ledger.domain.monitoring.policy import IssuerLimits, MonitoringText
from ledger.domain.monitoring.valuation import Price, Rates, UnitValues, Valuation, value
from tests.ledger.domain.monitoring.portfolios import judged, policy

# Holdings as "asset quantity x price x currency"; for each asset drift, half-width and condition, as exact fractions.
VECTORS = [tuple(vector.values()) for vector in orjson.loads(Path(__file__).with_name("vectors.json").read_bytes())]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector[0] for vector in VECTORS])
def test_the_vectors_hold_exactly(vector: tuple[Any, ...]) -> None:
    """Value, drift, half-width, state and turnover are those of the vectors, as fractions."""
    _, holdings, weights, members, amount, expected, turnover, condition = vector
    rates = Rates("CHF", {("USD", "CHF"): Decimal("0.8")})
    judgement = judged(holdings, weights, policy(**members), "CHF" if "USD" in holdings else "USD", rates)
    assert judgement.valuation is not None
    total = Fraction(judgement.valuation.total)
    assert total / Fraction(judgement.valuation.scale) == Fraction(amount)
    words = expected.split()
    assert {
        asset: (Fraction(drift) / total, Decimal(edges.half_width_text), found)
        for asset, edges, drift, found in judgement.assets
    } == {
        words[place]: (Fraction(words[place + 1]), Decimal(words[place + 2]), words[place + 3])
        for place in range(0, len(words), 4)
    }
    assert Fraction(judgement.moved) / 2 / total == Fraction(turnover)
    assert judgement.condition == condition


@pytest.mark.parametrize(("limit", "beyond"), [("0.1", ("A", "B")), ("0.11", ("B",)), ("0.89", ())])
def test_a_limit_is_kept_at_its_edge(limit: str, beyond: tuple[str, ...]) -> None:
    """A weight of exactly the limit is within it (D19, D20)."""
    assert judged("A 11x1 B 89x1", "A 0.1 B 0.9", policy(single_limit=limit)).beyond == beyond


def test_turnover_of_sixths_meets_its_limit_exactly() -> None:
    """A turnover of exactly 0.1 that no decimal quotient shows is a breach."""
    judgement = judged(
        "A 1x1 B 1x1 C 1x1 D 1x1 E 1x1 F 1x1", "A 0.2 B 0.2 C 0.2 D 0.2 E 0.1 F 0.1", policy(turnover="0.133333333333")
    )
    assert judgement.turnover == "breached"
    exact = judged("A 4x1 B 2x1", "A 0.6 B 0.4", policy(turnover="0.066666666667"))
    assert exact.turnover == "watch"
    assert exact.turnover_one_way() == "0.066666666667"


def test_issuers_are_counted_by_group_and_a_millionth_is_a_cliff() -> None:
    """5/10/40: exactly 0.05 is not counted, so a millionth moves the sum by 0.05."""
    limits = IssuerLimits(single="0.10", counted_above="0.05", together="0.40")  # type: ignore[arg-type]
    values = {f"A{number}": 10 * WHOLE for number in range(4)} | {f"B{number}": 5 * WHOLE for number in range(12)}
    valued = Valuation(values, 100 * WHOLE, WHOLE)
    assert issuers(valued, {}, limits) == ((), False)
    millionth = WHOLE // 10_000
    moved = values | {"B0": 5 * WHOLE + millionth, "B1": 5 * WHOLE - millionth}
    assert issuers(Valuation(moved, 100 * WHOLE, WHOLE), {}, limits) == ((), True)
    grouped = {"A0": "bank", "A1": "bank"}
    assert issuers(valued, grouped, limits) == (("bank",), False)


def test_a_small_drift_asks_for_no_trade() -> None:
    """A drift of 0.0125 of 2,000 is 25 and below a minimum of 50; at the minimum it is worth a trade."""
    judgement = judged("EQ 1225x1 BD 775x1", "EQ 0.6 BD 0.4", policy())
    assert judgement.valuation is not None
    equities = next(item for item in judgement.assets if item[0] == "EQ")
    assert not is_worth_trading(equities, judgement.valuation, Decimal(50))
    assert is_worth_trading(equities, judgement.valuation, Decimal(25))


@pytest.mark.parametrize(
    ("weights", "rest", "message"),
    [
        ({"A": "0.6", "B": "0.3"}, None, "sum to 0.9"),
        ({"A": "1.2"}, "B", "from 0 to 1"),
        ({"A": "0.5"}, "A", "give it one of the two"),
        ({"A": "-0.5", "B": "1.5"}, None, "from 0 to 1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: dict[str, str], rest: str | None, message: str) -> None:
    """The message says what they sum to, or which rule they break."""
    with pytest.raises(ValueError, match=message):
        targets(weights, rest)


def test_a_third_each_has_a_rest() -> None:
    """Three thirds cannot sum to 1 in decimals: the rest is what the others leave."""
    third = "0.333333333333"
    assert targets({"A": third, "B": third}, "C")["C"] == "0.333333333334"
    assert targets({"A": "0.60", "B": "0.1"}, "C")["C"] == "0.30"
    assert targets({"A": "1"}, "C")["C"] == "0"
    assert targets({}, "C")["C"] == "1"


AMOUNTS = st.decimals("-1000", "1000000", places=6, allow_nan=False, allow_infinity=False)
PRICES = st.decimals("0", "100000", places=6, allow_nan=False, allow_infinity=False)
RATES = st.decimals("0.0001", "10000", places=8, allow_nan=False, allow_infinity=False).filter(bool)
WIDTHS = st.integers(1, 5_000).map(lambda width: Decimal(width) / 10_000)


@st.composite
def policies(draw: st.DrawFn) -> MonitoringText:
    """Draw a policy."""
    band: dict[str, str] = {}
    if draw(st.booleans()):
        band["relative"] = str(draw(WIDTHS))
    if not band or draw(st.booleans()):
        band["absolute"] = str(draw(WIDTHS))
    watch, rearm = draw(st.integers(50, 99)), draw(st.integers(0, 50))
    return policy(
        band=band, unlisted=str(draw(WIDTHS)), watch=f"0.{watch:02}", rearm=f"0.{rearm:02}", turnover=str(draw(WIDTHS))
    )


@given(
    data=st.data(),
    text=policies(),
    names=st.lists(st.sampled_from("ABCDEFG"), min_size=1, unique=True),
)
def test_a_twin_with_fractions_agrees(data: st.DataObject, text: MonitoringText, names: list[str]) -> None:
    """For any holdings, prices, rates and targets: the same state and figures as quotients of fractions give."""
    currencies = data.draw(
        st.lists(st.sampled_from(["USD", "EUR", "GBX", "JPY"]), min_size=len(names), max_size=len(names))
    )
    rates = {pair: data.draw(RATES) for pair in [("EUR", "USD"), ("USD", "JPY"), ("GBP", "USD")]}
    quantities = {name: data.draw(AMOUNTS) for name in names}
    prices = {name: Price(data.draw(PRICES), currency) for name, currency in zip(names, currencies, strict=True)}
    cuts = sorted(data.draw(st.lists(st.integers(0, 100), min_size=2, max_size=2)))
    percents = [cuts[0], cuts[1] - cuts[0], 100 - cuts[1]]
    target = {name: f"{Decimal(part) / 100:f}" for name, part in zip("AHB", percents, strict=True)}
    held: dict[str, int | None] = {name: parts(f"{quantity:f}") for name, quantity in quantities.items()}
    judgement = judge(value(held, UnitValues(prices, Rates("USD", rates), "EUR", 0)), Plan.of(target, EdgesOf(text)))

    to_euro = {
        "USD": 1 / Fraction(rates["EUR", "USD"]),
        "EUR": Fraction(1),
        "GBX": Fraction(rates["GBP", "USD"]) / 100 / Fraction(rates["EUR", "USD"]),
        "JPY": 1 / Fraction(rates["USD", "JPY"]) / Fraction(rates["EUR", "USD"]),
    }
    values = {
        name: Fraction(quantities[name]) * Fraction(prices[name].amount) * to_euro[prices[name].currency]
        for name in names
    }
    total = sum(values.values())
    if total <= 0:
        assert judgement.condition == "unknown"
        assert [reason.reason for reason in judgement.unknown] == ["no-value"]
        return
    worst, moved, rearmed = 0, Fraction(0), True
    for asset, _, _, found in judgement.assets:
        wanted = Fraction(target.get(asset, "0"))
        drift = values.get(asset, Fraction(0)) / total - wanted
        if wanted == 0:
            half = Fraction(text.unlisted)
        else:
            widths = [Fraction(text.band.absolute)] if text.band.absolute is not None else []
            widths += [Fraction(text.band.relative) * wanted] if text.band.relative is not None else []
            half = min(widths)
        state = 2 if abs(drift) >= half else 1 if abs(drift) >= Fraction(text.watch) * half else 0
        worst, moved = max(worst, state), moved + abs(drift)
        rearmed &= abs(drift) <= Fraction(text.rearm) * half
        assert found == ("ok", "watch", "breached")[state]
    assert judgement.rearmed == rearmed
    assert [item[0] for item in judgement.assets] == sorted(set(names) | target.keys())
    assert judgement.condition == ("ok", "watch", "breached")[worst]
    assert text.turnover is not None
    assert (judgement.turnover == "breached") == (moved / 2 >= Fraction(text.turnover))
    for row in judgement.rows():
        weight = values.get(row["asset"], Fraction(0)) / total
        assert Fraction(row["weight"]) == round(weight, 12)
        assert Fraction(row["drift"]) == round(weight - Fraction(row["target"]), 12)
    assert Fraction(judgement.turnover_one_way()) == round(moved / 2, 12)


@given(st.fractions("-10", "10"))
def test_what_is_shipped_is_rounded_once_half_to_even(exact: Fraction) -> None:
    """The same as rounding the exact fraction to 12 decimals."""
    text = shipped(exact.numerator * WHOLE, exact.denominator)
    assert Fraction(text) == round(exact, 12)
    assert not text.startswith("-0.000000000000")


@given(st.integers(-(10**13), 10**13))
def test_a_tie_goes_to_the_even_part(parts: int) -> None:
    """Half a part more goes to the even one of the two, below zero as well."""
    text = shipped(2 * parts + 1, 2)
    assert Fraction(text) * WHOLE == parts + parts % 2
