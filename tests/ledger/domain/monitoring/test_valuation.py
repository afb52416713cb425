"""What has no price, rate or quantity is unknown, and a rate is used in the direction that it was recorded in."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from ledger.domain.monitoring.arithmetic import parts
from ledger.domain.monitoring.valuation import Price, Rates, UnitValues, Unknown, Valuation, value

D = Decimal
TEN = D(10)
RATES = Rates("USD", {("EUR", "USD"): D(2), ("GBP", "USD"): D("1.25"), ("USD", "JPY"): D(150)})


def amount(
    price: Price, base: str, rates: Rates = RATES, quantity: Decimal | None = TEN
) -> Fraction | tuple[Unknown, ...]:
    """Return the value of ten pieces, or why there is none."""
    valued = value(
        {"A": None if quantity is None else parts(f"{quantity:f}")}, UnitValues({"A": price}, rates, base, 1)
    )
    return Fraction(valued.total) / Fraction(valued.scale) if isinstance(valued, Valuation) else valued


@pytest.mark.parametrize(
    ("price", "base", "expected"),
    [
        (Price(D(1), "USD"), "EUR", Fraction(5)),  # the inverse of a rate
        (Price(D(1), "EUR"), "USD", Fraction(20)),
        (Price(D(1), "EUR"), "GBP", Fraction(16)),  # through the pivot
        (Price(D(75), "GBX"), "GBP", Fraction(75, 10)),  # a minor unit is a fixed share, not a rate
        (Price(D(75), "GBp"), "USD", Fraction(75, 8)),
        (Price(D(3), "GBP"), "GBX", Fraction(3000)),
        (Price(D(30), "JPY"), "USD", Fraction(2)),
        (Price(D(1), "CHF"), "CHF", Fraction(10)),  # no rate is needed
    ],
)
def test_a_rate_is_used_in_its_direction(price: Price, base: str, expected: Fraction) -> None:
    """Forward, inverse, through the pivot, and as a fixed minor unit: exactly."""
    assert amount(price, base) == expected


@pytest.mark.parametrize(
    ("price", "quantity", "reason"),
    [
        (Price(D(1), "CHF"), D(10), "no-rate"),
        (Price(D(1), "ZAc"), D(10), "no-rate"),
        (Price(D(1), "USD", age=2), D(10), "stale-price"),
        (Price(D(1), "USD", doubtful=True), D(10), "doubtful-price"),
        (Price(D(1), "USD"), None, "no-quantity"),
    ],
)
def test_what_is_missing_is_unknown_and_named(price: Price, quantity: Decimal | None, reason: str) -> None:
    """It is never taken as 0 or 1; the asset is named."""
    assert amount(price, "USD", quantity=quantity) == (Unknown(reason, "A"),)  # type: ignore[arg-type]


def test_a_pair_meets_in_the_pivot_only() -> None:
    """Two rates that meet in another currency than the pivot give none."""
    rates = Rates("USD", {("EUR", "CHF"): D("0.9"), ("CHF", "SEK"): D(12)})
    assert amount(Price(D(1), "EUR"), "SEK", rates) == (Unknown("no-rate", "A"),)


def test_each_missing_price_is_named_and_the_rest_is_judged_nowhere() -> None:
    """A portfolio with one asset without a price has no value at all."""
    prices = {"B": Price(D(1), "USD"), "C": Price(D(1), "USD", age=9)}
    assert value(dict.fromkeys("CAB", parts("1")), UnitValues(prices, RATES, "USD", 1)) == (
        Unknown("no-price", "A"),
        Unknown("stale-price", "C"),
    )


@pytest.mark.parametrize("quantity", ["0", "-1"])
def test_no_value_is_unknown(quantity: str) -> None:
    """Nothing held, or less than nothing, has no weights."""
    assert amount(Price(D(1), "USD"), "USD", quantity=D(quantity)) == (Unknown("no-value", None),)
    assert value({}, UnitValues({}, RATES, "USD", 1)) == (Unknown("no-value", None),)


def test_a_price_at_its_age_limit_is_not_stale() -> None:
    """Stale is beyond the days of the policy."""
    assert amount(Price(D(1), "USD", age=1), "USD") == 10
