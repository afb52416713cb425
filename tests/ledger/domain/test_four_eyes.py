"""Which decisions need a confirmation, and how large a change is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.four_eyes import FourEyes, change, parts
from tests.ledger.domain.stories import four_eyes

PACKAGED = FourEyes.load()
HALVES = {"weights": {"cash": "0.5", "bonds": "0.5"}}


def asked(
    outcome: str,
    amount: str = "1.00",
    reason: str | None = None,
    before: dict[str, Any] | None = HALVES,
    after: dict[str, Any] | None = HALVES,
) -> list[str]:
    """The rules of the packaged policy that require a confirmation."""
    replacement = after if outcome == "edit" else None
    return PACKAGED.rules_for(outcome, Decimal(amount), reason, before, replacement)


def test_each_packaged_rule_asks_from_its_bound_on() -> None:
    """Amount, change and reason each ask on their own, from their bound on; all that ask are named."""
    for outcome in ("approve", "edit"):
        assert asked(outcome, "999999.99") == []
        assert asked(outcome, "1000000.00") == ["large-amount"]
    assert asked("reject", "1000000.00") == []
    for reason in ("model-ignored-constraint", "model-unsuitable", "other"):
        assert asked("edit", reason=reason) == asked("reject", reason=reason) == ["sensitive-reason"]
    assert asked("reject", reason="house-view") == []
    assert asked("edit", after={"weights": {"cash": "0.6999", "bonds": "0.3001"}}) == []
    assert asked("edit", after={"weights": {"cash": "0.7", "bonds": "0.3"}}) == ["large-change"]
    everything = asked("edit", "1e9", "other", after={})
    assert everything == ["large-amount", "large-change", "sensitive-reason"]


@pytest.mark.parametrize("reason", [None, "other", "model-unsuitable"])
def test_a_response_never_waits(reason: str | None) -> None:
    """It decides nothing."""
    assert asked("respond", "999999999999.99", reason) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, HALVES),
        ({}, HALVES),
        (HALVES, {}),
        (HALVES, {"weights": {}}),
        (HALVES, {"weights": []}),
        (HALVES, {"weights": {"cash": 1}}),
        (HALVES, {"weights": {"cash": "1e0"}}),
        (HALVES, {"weights": {"cash": "NaN"}}),
        (HALVES, {"allocations": []}),
        (HALVES, {"allocations": ["x"]}),
        (HALVES, {"allocations": [{"weight": "1"}]}),
        (HALVES, {"allocations": [{"asset": 1, "weight": "1"}]}),
        ({"weights": {"cash": "x"}}, HALVES),
    ],
)
def test_what_cannot_be_measured_counts_as_large(before: dict[str, Any] | None, after: dict[str, Any]) -> None:
    """An original that was erased, and anything without weights on either side, requires a confirmation."""
    assert asked("edit", before=before, after=after) == ["large-change"]
    if before is not None:
        assert change(before, after) is None
        assert change(after, before) is None


def test_weights_are_read_from_both_shapes() -> None:
    """`weights` by name, or `allocations` by class, asset, or asset within a class; of what stands twice, the sum."""
    cash, usd = {"asset_class": "cash", "weight": "0.25"}, {"asset_class": "cash", "asset": "usd", "weight": "0.25"}
    found = parts({"allocations": [cash, usd, usd, {"asset": "x", "weight": "-1"}]})
    assert found is not None
    assert sorted(found.values()) == [Decimal(-1), Decimal("0.25"), Decimal("0.5")]
    assert (found["cash"], found["x"]) == (Decimal("0.25"), Decimal(-1))
    assert parts({"weights": {"a": "1"}}) == {"a": Decimal(1)}
    assert change({"weights": {"cash": "1"}}, {"allocations": [{"asset": "cash", "weight": "1.0000"}]}) == 0


@st.composite
def portfolios(draw: st.DrawFn) -> dict[str, Any]:
    """Weights of 0 or more that sum to 1, in either shape."""
    shares = draw(st.lists(st.integers(0, 10**4), min_size=1, max_size=6).filter(any))
    cuts = [10**8 * sum(shares[:at]) // sum(shares) for at in range(len(shares) + 1)]
    names = draw(st.permutations(["a", "b", "c", "d", "e", "f"]))
    found = {name: f"{Decimal(high - low) / 10**8:.8f}" for name, low, high in zip(names, cuts, cuts[1:], strict=False)}
    if draw(st.booleans()):
        return {"weights": found}
    return {"allocations": [{"asset_class": name, "weight": weight} for name, weight in found.items()]}


@given(portfolios(), portfolios(), portfolios())
def test_change_is_a_distance(one: dict[str, Any], other: dict[str, Any], third: dict[str, Any]) -> None:
    """The share of the money that moves: 0 for the same, the same both ways, at most 1, never longer by a detour."""
    there, back = change(one, other), change(other, one)
    via, onward = change(one, third), change(third, other)
    assert there is not None
    assert via is not None
    assert onward is not None
    assert there == back
    assert change(one, one) == 0
    assert 0 <= there <= 1
    assert there <= via + onward
    assert (there == 0) == (positive(one) == positive(other))


def positive(answer: dict[str, Any]) -> dict[str, Decimal]:
    """Names of asset classes and assets."""
    found = parts(answer)
    assert found is not None
    return {name: weight for name, weight in found.items() if weight}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Within a class, from one thing wholly into another.
        (
            {"allocations": [{"asset_class": "equity", "asset": "a", "weight": "1"}]},
            {"allocations": [{"asset_class": "equity", "asset": "b", "weight": "1"}]},
        ),
        # Under the name that the measure does not look at.
        (
            {"allocations": [{"asset": "a", "weight": "1"}]},
            {"allocations": [{"asset": "a", "weight": "1"}], "weights": {"b": "1"}},
        ),
    ],
)
def test_no_change_hides(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Money that moves within a class, or in a second list beside the first, counts or cannot be measured."""
    assert asked("edit", before=before, after=after) == ["large-change"]
    assert asked("edit", before=after, after=before) == ["large-change"]


def test_a_change_of_everything_counts_as_1() -> None:
    """From one thing wholly into another is 1."""
    assert change({"weights": {"a": "1"}}, {"weights": {"b": "1"}}) == 1


@pytest.mark.parametrize("tiny", ["0.000000000001", "-0.000000000001"])
def test_change_is_exact(tiny: str) -> None:
    """No weight is so large that a small change beside it is lost."""
    large = {"weights": {f"x{at}": "999999999999999" for at in range(100)} | {"y": "0"}}
    moved = {"weights": {**{f"x{at}": "0" for at in range(100)}, "y": tiny}}
    assert change(large, moved) == Decimal("49999999999999950.0000000000005")
    assert change(moved, large) == change(large, moved)


@given(st.decimals(0, 10**12, places=2), st.decimals(0, 10**12, places=2))
def test_a_bound_on_the_amount_is_kept_to_the_cent(bound: Decimal, amount: Decimal) -> None:
    """At the bound and above, and not below it."""
    rule = {"name": "large", "outcomes": ["approve"], "amount_usd_at_least": f"{bound:.2f}"}
    found = four_eyes(rules=[rule], second_roles=["compliance"])
    assert (found.rules_for("approve", amount, None, None, None) == ["large"]) == (amount >= bound)
    assert found.rules_for("edit", amount, None, None, None) == []
    assert found.second_roles == {"compliance"}
    assert found.version == "1"


CASH = {"asset_class": "cash", "weight": "0.5", "amount_usd": "50.00"}
STOCKS = {"asset_class": "us_equity", "weight": "0.5", "amount_usd": "50.00"}
HALF_AND_HALF: dict[str, Any] = {"allocations": [CASH, STOCKS], "summary": "half and half"}


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        (HALF_AND_HALF, "0"),
        ({"allocations": [CASH, STOCKS]}, "0"),
        # The weights stay, and the money goes.
        ({"allocations": [{**CASH, "amount_usd": "0"}, {**STOCKS, "amount_usd": "100"}]}, "0.5"),
        (
            {
                "allocations": [
                    {**CASH, "weight": "0.1", "amount_usd": "10"},
                    {**STOCKS, "weight": "0.9", "amount_usd": "90"},
                ]
            },
            "0.4",
        ),
        # Content that cannot be measured.
        ({**HALF_AND_HALF, "orders": [{"buy": "something", "amount_usd": "100"}]}, None),
        ({**HALF_AND_HALF, "summary": "all of it elsewhere"}, None),
        ({"allocations": [{"asset_class": "cash", "weight": "0.5"}, STOCKS]}, None),
    ],
)
def test_money_does_not_move_unseen(after: dict[str, Any], moved: str | None) -> None:
    """Amounts count as weights do, whichever moves more; what says something new besides cannot be measured."""
    assert change(HALF_AND_HALF, after) == (None if moved is None else Decimal(moved))
