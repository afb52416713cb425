"""The leaf of a judgement is the same in each version of this program: recorded runs are computed again by it."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.monitoring.arithmetic import parts
from ledger.domain.monitoring.drift import targets
from ledger.domain.monitoring.leaf import leaf, shown, written
from ledger.domain.monitoring.run import Conditions, Run, judged
from ledger.domain.monitoring.valuation import Price, Rates
from ledger.proof.format.canonical import canonical
from tests.ledger.domain.monitoring.portfolios import MIXED, policy

PRICES = {
    "EQ": Price(Decimal("101.37"), "USD"),
    "EM": Price(Decimal("7.000000000001"), "GBX"),
    "BD": Price(Decimal("99.5"), "EUR"),
    "XX": Price(Decimal(3), "JPY"),
    "CASH": Price(Decimal(1), "USD"),
}
RATES = {("EUR", "USD"): Decimal("1.0834"), ("GBP", "USD"): Decimal("1.27"), ("USD", "JPY"): Decimal("151.37")}
HELD = {"EQ": "600", "EM": "12345.678901234567", "BD": "400.5", "XX": "1000", "CASH": "-5000.25"}
LEAF = "88c76f560a6de0c77447ad903f2255505c742b2872c3eff2abe97ed06667cc88"


def test_a_leaf_is_what_it_was_when_runs_were_first_recorded() -> None:
    """Texts keep their zeros, figures are rounded once, and the text is RFC 8785."""
    text = policy(band=MIXED, overrides={"EM": {"relative": "0.123456789012"}}, turnover="0.1", single_limit="0.3")
    conditions = Conditions(text, "0" * 64, PRICES, Rates("USD", RATES))
    weights = targets({"EQ": "0.60", "EM": "0.123456789012", "CASH": "0.0"}, "BD")
    # Another portfolio with the same policy, whose equal weights are written in another way, is judged first.
    judged(targets({"EQ": "0.6"}, "BD"), {"EQ": 1}, "EUR", conditions)
    found = judged(weights, {asset: parts(quantity) for asset, quantity in HELD.items()}, "EUR", conditions)
    assert written("p", found, found.shipped()) == canonical(shown("p", found))
    run = Run.of(7, "2026-03-02T22:00:00Z", 100, historical=True)
    assert leaf(bytes(range(32)), run, "p", found).hex() == LEAF


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.sampled_from(["1", "0.5", "-0.5", "\n0.5"]),
    st.integers(-(10**15), 10**15),
)
def test_the_text_of_a_leaf_is_canonical_json(asset: str, weight: str, quantity: int) -> None:
    """Also of names and weights that no client can send, of a weight above 1, and of an unknown condition."""
    prices = {asset: Price(Decimal("0.5"), "USD"), "EQ": Price(Decimal(2), "USD")}
    for known in (prices, {}):
        conditions = Conditions(policy(single_limit="0.3"), "", known, Rates("USD"))
        found = judged({asset: weight, "EQ": "0.5"}, {asset: quantity, "EQ": 10**12}, "USD", conditions)
        assert written("p", found, found.shipped()) == canonical(shown("p", found))
